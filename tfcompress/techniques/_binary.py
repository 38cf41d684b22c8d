"""What the binary techniques share: how blocks of convolution, BN and activation change."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.deferred import keras
from tfcompress.errors import InputError
from tfcompress.techniques import _blocks, _ends
from tfcompress.techniques._blocks import Block
from tfcompress.techniques._equivalents import taking_equivalents
from tfcompress.techniques._recipes import WeightOptions, training
from tfcompress.techniques.base import (
    Candidate,
    Fit,
    LayerLine,
    Property,
    Technique,
    fit_keras,
)

if TYPE_CHECKING:
    from tfcompress.config import Training
    from tfcompress.data.protocol import Data
    from tfcompress.graph import Graph
    from tfcompress.training.context import Row, TrainingContext

# PReLU's slope at the start (He et al. 2015, arXiv:1502.01852, section 2.1).
_PRELU_SLOPE = 0.25


def _why_kept(graph: Graph, name: str, form: _Form) -> str | None:
    """Says why a weighted layer stays as it is; None if it is to be binarised."""
    from tfcompress.layers import BinaryConv2D, BinaryDense

    layer = graph.operations[name]
    if type(layer) in (BinaryConv2D, BinaryDense):
        return None if form.completes(layer) else "binary already"
    why = _blocks.not_inner(graph, name, "full precision", "binary")
    if why:
        return why
    if graph.calls[name] != 1:
        return (
            f"shared: called {graph.calls[name]} times, and each call would need a "
            "normalisation of its own"
        )
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "data_format is channels_first; binary layers take channels_last"
    return None


def technique(
    *,
    name: str,
    summary: str,
    reference: str,
    options: type[WeightOptions],
    binarize_inputs: bool,
    binarize_kernel: bool,
    epochs: int,
    storages: tuple[str, ...],
    aliases: tuple[str, ...] = (),
    shifts: bool = False,
    fit: Fit | None = None,
) -> Technique:
    """Makes a technique that turns every inner convolution and dense layer into a binary one.

    Args:
        name: of the technique.
        summary: for `--list`.
        reference: authors, year, arXiv id.
        options: the hyper-parameters' class.
        binarize_inputs: whether the blocks' inputs become signs.
        binarize_kernel: whether the weights become signs with a scale for each filter.
        epochs: of the default recipe.
        storages: how the export writes it by default, as `Technique` has them.
        aliases: other words for it.
        shifts: whether filters and normalisations are scaled by powers of two.
        fit: how it is trained; None for `fit_binary`.
    """

    def transform(candidate: Candidate, chosen: WeightOptions) -> Candidate:
        form = _Form(
            binarize_inputs=binarize_inputs,
            binarize_kernel=binarize_kernel and chosen.binary_weights,
            activation=chosen.block_activation,
            keep_weights=chosen.keep_weights,
            clip_value=chosen.clip_value,
            end_bits=getattr(chosen, "end_bits", 32),
            input_bits=getattr(chosen, "activation_bits", 1),
            shifts=shifts,
        )
        return _binarise(candidate, form)

    return taking_equivalents(
        Technique(
            name=name,
            summary=summary,
            reference=reference,
            options=options,
            transform=transform,
            check=transform,
            training=training(epochs),
            fit=fit or fit_binary,
            storages=storages,
            aliases=aliases,
            produces=frozenset({Property.BINARY}),
        )
    )


def fit_binary(
    candidate: Candidate,
    options: WeightOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains the model in place, with the tails of its latent weights cut if that is wanted."""
    if not getattr(options, "recu", False):
        return fit_keras(candidate, options, data, training, context)
    from tfcompress.training.constraints import TailClamp
    from tfcompress.training.loop import steps_per_epoch

    steps = steps_per_epoch(context.transfer or data, training) * training.epochs
    kernels = [
        layer.kernel
        for layer in candidate.model._flatten_layers()
        if getattr(layer, "binarize_kernel", False)
    ]
    own = [kernel.constraint for kernel in kernels]
    for kernel in kernels:
        kernel.constraint = TailClamp(kernel, steps)
    try:
        return fit_keras(candidate, options, data, training, context)
    finally:
        for kernel, constraint in zip(kernels, own, strict=True):
            kernel.constraint = constraint


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Form:
    """What the binary layers are like.

    Attributes:
        binarize_inputs: whether the blocks' inputs become signs.
        binarize_kernel: whether the weights become signs with a scale for each filter.
        activation: `prelu`, `relu` or `linear`, in place of the blocks' own, but for sigmoids and
            softmaxes, which gate something; `keep` leaves it.
        keep_weights: whether the model's weights are the latent weights to start from; else all
            layers start anew.
        clip_value: as of `BinaryConv2D`.
        end_bits: of the weights of the first and the last layer; 32 leaves them as they are.
        input_bits: as of `BinaryConv2D`.
        shifts: whether filters and normalisations are scaled by powers of two.
    """

    binarize_inputs: bool
    binarize_kernel: bool
    activation: str
    keep_weights: bool
    clip_value: float
    end_bits: int = 32
    input_bits: int = 1
    shifts: bool = False

    def layer(self, layer: Any) -> Any:
        """Makes the binary layer of the same shape and name.

        With binary inputs it always has a bias: its batch normalisation moves away.
        """
        from tfcompress.layers import BinaryConv2D, BinaryDense

        own_activation = (
            not self.binarize_inputs or self.activation == "keep" or _blocks.is_gate(layer)
        )
        arguments = {
            "binarize_inputs": self.binarize_inputs,
            "binarize_kernel": self.binarize_kernel,
            "clip_value": self.clip_value,
            "input_bits": self.input_bits,
            "shift_scale": self.shifts,
            "use_bias": layer.use_bias or self.binarize_inputs,
            "activation": layer.activation if own_activation else None,
            "name": layer.name,
        }
        if isinstance(layer, keras.layers.Dense):
            return BinaryDense(layer.units, **arguments)
        return BinaryConv2D(
            layer.filters,
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            groups=layer.groups,
            **arguments,
        )

    def completes(self, layer: Any) -> bool:
        """Says whether a layer has the binary inputs already, and gets the binary weights now."""
        return (
            self.binarize_inputs
            and self.binarize_kernel
            and getattr(layer, "binarize_inputs", False)
            and not layer.binarize_kernel
        )

    def completed(self, layer: Any) -> Any:
        """Makes a layer of binary inputs and weights of one that has binary inputs."""
        changed = {
            "binarize_kernel": True,
            "clip_value": self.clip_value,
            "shift_scale": self.shifts,
        }
        return type(layer).from_config({**layer.get_config(), **changed})

    def reason(self, block: Block) -> str:
        """Says for the report what became of a block."""
        parts = (
            ("inputs", self.binarize_inputs and self.input_bits == 1),
            ("weights", self.binarize_kernel),
        )
        binary = " and ".join(part for part, is_binary in parts if is_binary)
        levels = "inputs of 2 bits, " if self.input_bits == 2 else ""
        return f"{levels}binary {binary}" + (f"; {block.bn} moved before it" if block.bn else "")


def _binarise(candidate: Candidate, form: _Form) -> Candidate:
    """Turns every inner convolution and dense layer into a binary one.

    With binary inputs each block convolution-BN-activation becomes BN-sign-convolution-activation:
    the sign sees normalised values. The old BN is folded into the latent weights, so that the
    scale of the block's output stays; the new BN starts afresh. The new activation goes behind
    the max pooling of the block, where there is one: the order of the two makes no difference to
    a rising function, and there is a quarter of the values left to work on. With float inputs the
    order stays, and only the kernel changes. So it does of layers that have binary inputs already:
    the chain `binary_activations+xnor` trains the two in turn.

    Args:
        candidate: any functional or Sequential model; nested models are flattened.
        form: what the new layers are like.

    Raises:
        InputError: the model can't be copied, or no layer of it can be binarised.
    """
    from tfcompress.graph import Graph, clone, rewrite

    flat = clone(candidate.model, keep_weights=form.keep_weights)
    graph = Graph.of(flat)
    replace: dict[str, Callable[..., Any]] = {}
    loads: list[Callable[[], None]] = []
    lines: list[LayerLine] = []
    for name, layer in graph.operations.items():
        if _blocks.weighted(layer):
            lines.append(_changed(graph, name, form, replace, loads))
    if not any(line.action == "binarised" for line in lines):
        raise _blocks.no_layer(flat, "binarised", lines)
    try:
        model = rewrite(flat, replace)
    except InputError:
        raise
    except ValueError as error:  # A layer that can't take its input, such as one of dynamic size.
        raise InputError(f"model '{flat.name}' can't be binarised: {error}") from error
    for load in loads:
        load()
    return candidate.then(model, *lines)


def _changed(
    graph: Graph,
    name: str,
    form: _Form,
    replace: dict[str, Callable[..., Any]],
    loads: list[Callable[[], None]],
) -> LayerLine:
    """Puts a binary layer into a weighted one's place, and returns the report's line of it.

    Args:
        graph: of the network.
        name: of the layer.
        form: what the new one is like.
        replace: gets what stands in the places of layers, by name.
        loads: gets what gives the new layer its weights, once it is built.
    """
    layer = graph.operations[name]
    kind = type(layer).__name__
    why = _why_kept(graph, name, form)
    if why and form.end_bits == 8 and _ends.can_be_rounded(graph, name):
        replace[name], load = _ends.rounded(graph, name)
        loads.append(load)
        return LayerLine(name, kind, "quantised", _ends.REASON)
    if why:
        return LayerLine(name, kind, "kept", why)
    if form.completes(layer):
        replace[name] = new = form.completed(layer)
        if form.keep_weights:
            loads.append(functools.partial(_copy_weights, new, layer))
        return LayerLine(name, kind, "binarised", "binary weights behind binary inputs")
    block = _blocks.find(graph, name) if form.binarize_inputs else Block(name)
    new = form.layer(layer)
    if form.binarize_inputs:
        _reorder(graph, block, new, form, replace)
    else:
        replace[name] = new
    if form.keep_weights:
        bn = graph.operations[block.bn] if block.bn else None
        loads.append(functools.partial(_load, new, layer, bn))
    return LayerLine(name, kind, "binarised", form.reason(block))


def _reorder(
    graph: Graph,
    block: Block,
    new: Any,
    form: _Form,
    replace: dict[str, Callable[..., Any]],
) -> None:
    """Puts BN before the layer, none behind it, and the new activation behind the pooling."""
    from tfcompress.layers import ShiftBatchNormalization

    activation = form.activation
    kind = ShiftBatchNormalization if form.shifts else keras.layers.BatchNormalization
    normalise = kind(name=f"{block.layer}_sign_bn")
    replace[block.layer] = lambda x, *args, **kwargs: new(normalise(x))
    if block.bn:
        replace[block.bn] = _blocks.pass_through
    layer = graph.operations[block.layer]
    had_one = block.activation or not (_blocks.linear(layer) or _blocks.is_gate(layer))
    if activation == "keep" or not had_one:
        return
    if block.activation:
        replace[block.activation] = _blocks.pass_through
    act = _activation(activation, f"{block.layer}_{activation}")
    if act is None:
        return
    last = block.pool or block.activation or block.layer
    before = replace.get(last, graph.operations[last])
    replace[last] = lambda x, *args, **kwargs: act(before(x, *args, **kwargs))


def _activation(kind: str, name: str) -> Callable[[Any], Any] | None:
    """Makes a new activation layer; PReLU has one slope a channel."""
    if kind == "linear":
        return None
    if kind == "relu":
        return keras.layers.ReLU(name=name)

    def prelu(x: Any) -> Any:
        return keras.layers.PReLU(
            alpha_initializer=keras.initializers.Constant(_PRELU_SLOPE),
            shared_axes=list(range(1, len(x.shape) - 1)) or None,
            name=name,
        )(x)

    return prelu


def _copy_weights(new: Any, layer: Any) -> None:
    """Gives a layer the weights of one of the same shapes."""
    new.set_weights(layer.get_weights())


def _load(new: Any, layer: Any, bn: Any) -> None:
    """Gives the new layer the old weights as latent weights, with the old BN folded in."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel))
    bias = np.zeros(kernel.shape[-1], kernel.dtype)
    if layer.use_bias:
        bias = np.asarray(keras.ops.convert_to_numpy(layer.bias))
    if bn is not None:
        mean = keras.ops.convert_to_numpy(bn.moving_mean)
        variance = keras.ops.convert_to_numpy(bn.moving_variance)
        gamma = keras.ops.convert_to_numpy(bn.gamma) if bn.scale else 1.0
        beta = keras.ops.convert_to_numpy(bn.beta) if bn.center else 0.0
        factor = gamma / np.sqrt(variance + bn.epsilon)
        kernel = kernel * factor
        bias = (bias - mean) * factor + beta
    new.kernel.assign(kernel)
    if new.use_bias:
        new.bias.assign(bias)
