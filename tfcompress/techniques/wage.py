"""Weights, activations, gradients and errors of a few bits: the training computes in integers, too.

The values of a layer's rows are as Wu et al. have them; sums, the loss and what scales a gradient
are 32-bit floats here. A file has weights and activations of the trained grids.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from tfcompress.config import Training
from tfcompress.deferred import keras
from tfcompress.errors import InputError, one_of, require
from tfcompress.techniques import _blocks, _few_bits
from tfcompress.techniques._equivalents import taking_equivalents
from tfcompress.techniques._recipes import Init
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, fit_keras

if TYPE_CHECKING:
    from tfcompress.data.protocol import Data
    from tfcompress.graph import Graph
    from tfcompress.graph.layer_maker import LayerMaker
    from tfcompress.training.context import Row, TrainingContext


@dataclasses.dataclass(frozen=True, kw_only=True)
class WageOptions:
    """Hyper-parameters of WAGE; the defaults are the paper's 2-8-8-8 (section 4).

    Attributes:
        bits: of the weights that layers compute with, 2 to 8, in all layers: the authors' code has
            the same for the first and the last one.
        activation_bits: of the layers' inputs, 2 to 8, between -1 and 1.
        gradient_bits: of the weights as they are trained, which move by whole steps of this grid, 2
            to 16.
        error_bits: of the errors that come back through a layer, 2 to 16; 32 rounds none.
        init: weights from `scratch`, as in the paper, or from the `float` baseline: its kernels,
            with their batch normalisation, up to one factor a layer; biases aren't kept.
    """

    bits: int = 2
    activation_bits: int = 8
    gradient_bits: int = 8
    error_bits: int = 8
    init: Init = "scratch"

    def __post_init__(self) -> None:
        """Refuses what the layers and the optimizer would."""
        _few_bits.check_bits("bits", self.bits, range(2, 9))
        _few_bits.check_bits("activation_bits", self.activation_bits, range(2, 9))
        _few_bits.check_bits("gradient_bits", self.gradient_bits, range(2, 17))
        _few_bits.check_bits("error_bits", self.error_bits, (*range(2, 17), 32))
        require(
            self.gradient_bits >= self.bits,
            f"option gradient_bits must be bits={self.bits} or more; got {self.gradient_bits}",
        )
        one_of("option init", self.init, get_args(Init))


def _transform(candidate: Candidate, options: WageOptions) -> Candidate:
    """Wraps every convolution and dense layer, and takes out batch normalisations and biases.

    Raises:
        InputError: another layer has weights that are trained.
    """
    from tfcompress.graph import Graph, clone
    from tfcompress.graph.fold_batch_norm import fold_batch_norms
    from tfcompress.graph.layer_maker import LayerMaker, replace_layers

    drawn = clone(candidate.model, keep_weights=options.init == "float")
    source, folded = fold_batch_norms(drawn)
    source = clone(source)
    graph, maker = Graph.of(source), LayerMaker(source)
    names = _weighted(graph)
    inputs = _few_bits.layer_inputs(source, set(names), candidate.samples)
    replace: dict[str, Any] = dict.fromkeys(_normalisations(graph), _blocks.pass_through)
    kernels = {name: graph.operations[name].get_weights()[:1] for name in names}
    lines = []
    for name in names:
        layer = graph.operations[name]
        first = not any(map(_blocks.weighted, _before(graph, name)))
        rounding, shift = _rounding(maker, name, inputs[name], options.activation_bits, first)
        wrapper = _wrapped(maker, layer, options, shift)
        replace[name] = _few_bits.behind(rounding, wrapper)
        reason = (
            f"weights of {options.bits} bits by a power of two, inputs of "
            f"{options.activation_bits} bits"
        )
        gone = [text for text, there in _gone(layer, name, folded) if there]
        lines.append(
            LayerLine(
                name,
                type(layer).__name__,
                "quantised",
                reason + ("; without its " + " and ".join(gone) if gone else ""),
            )
        )
    if not names:
        raise _blocks.no_layer(source, "quantised", lines)
    model = replace_layers(source, replace, maker)
    for name, arrays in kernels.items():
        wrapper = model.get_layer(name)
        wrapper.layer.set_weights(arrays)
        wrapper.start()
    return candidate.then(model, *lines)


def _weighted(graph: Graph) -> list[str]:
    """Returns the names of the layers that can be wrapped.

    Raises:
        InputError: another layer has weights that are trained, which no whole steps fit.
    """
    from tfcompress.layers._rounded_kernel import FILTER_AXES

    names = []
    for name, layer in graph.operations.items():
        plain = type(layer) in [getattr(keras.layers, kind) for kind in FILTER_AXES]
        if plain:
            names.append(name)
        elif _is_normalisation(layer):
            continue
        elif getattr(layer, "trainable_variables", None):
            raise InputError(
                "wage trains the weights of convolutions and dense layers, by whole steps; layer "
                f"'{name}' ({type(layer).__name__}) has others: take lsq or ternary, which keep it"
            )
    return names


def _is_normalisation(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _normalisations(graph: Graph) -> list[str]:
    """Returns the names of batch normalisations that no layer before them took in."""
    return [name for name, layer in graph.operations.items() if _is_normalisation(layer)]


def _before(graph: Graph, name: str) -> list[Any]:
    """Returns all operations before a layer."""
    return [graph.operations[each] for each in graph.reaches({name}, forward=False)]


def _gone(layer: Any, name: str, folded: dict[str, str]) -> list[tuple[str, bool]]:
    """Says what a layer had that it hasn't any more."""
    normalised = name in folded.values()
    return [("batch normalisation", normalised), ("bias", layer.use_bias and not normalised)]


def _rounding(
    maker: LayerMaker, name: str, values: np.ndarray, bits: int, first: bool
) -> tuple[Any, int]:
    """Makes the layer that rounds another one's inputs.

    Args:
        maker: makes it.
        name: of the other layer.
        values: some of these inputs.
        bits: of them; where none is negative, the sign's bit is a level more for a network's own
            inputs, and unused behind a ReLU.
        first: whether they are the network's inputs: these are up to a power of two, others to 1.

    Returns:
        The layer, and the exponent of that power.
    """
    from tfcompress.layers import FewBitActivations
    from tfcompress.ops import fixed_point

    signed = bool((values < 0).any())
    largest = float(np.abs(values).max(initial=0.0))
    shift = math.ceil(math.log2(largest)) if first and largest > 0 else 0
    count = bits if signed or first else bits - 1
    step = fixed_point.step(bits) if signed or not first else fixed_point.step(bits + 1)
    rounding = maker.layer(
        name,
        "inputs",
        FewBitActivations,
        num_bits=count,
        signed=signed,
        trained=None,
        maximum=2.0**shift * (1.0 - step),
    )
    return rounding, shift


def _wrapped(maker: LayerMaker, layer: Any, options: WageOptions, shift: int) -> Any:
    """Makes the wrapper of a layer without its bias, which doesn't have its weights yet."""
    from tfcompress.layers import WageWeights

    return maker.layer(
        layer.name,
        "",
        WageWeights,
        layer=type(layer).from_config({**layer.get_config(), "use_bias": False}),
        num_bits=options.bits,
        error_bits=options.error_bits,
        input_shift=shift,
    )


def _fit(
    candidate: Candidate,
    options: WageOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains by whole steps, whatever optimizer the training or the user's model names.

    Raises:
        InputError: the training has weight decay, trains layers of its own beside the model's, or
            is for several devices.
    """
    from tfcompress.ops import fixed_point
    from tfcompress.training.optimizers import learning_rate
    from tfcompress.training.shift_optimizers import IntegerSGD

    require(not training.weight_decay, "wage moves weights by whole steps: weight_decay must be 0")
    require(
        training.distillation is None or "hint" not in training.distillation.names,
        "wage trains no layers beside the network's, as 'hint' in distillation.losses would",
    )
    require(
        context.devices == 1,
        "wage rounds its steps by chance, which several devices would draw apart: train on one",
    )
    (seed,) = np.random.SeedSequence(context.seed).generate_state(1) >> 1

    def optimizer(training: Training, steps: int) -> Any:
        rate = learning_rate(training, steps)
        largest = 1 - fixed_point.step(options.bits)
        return IntegerSGD(rate, options.gradient_bits, largest, seed=int(seed))

    context = dataclasses.replace(context, optimizer=optimizer)
    return fit_keras(candidate, options, data, training, context)


TECHNIQUE = taking_equivalents(
    Technique(
        name="wage",
        summary="weights of three values, activations, gradients and errors of 8 bits; no BN",
        reference="Wu, Li, Chen, Shi 2018, arXiv:1802.04680",
        options=WageOptions,
        transform=_transform,
        check=_transform,
        # The rate is in steps of the gradients' grid (section 4.1 begins with 8).
        training=lambda options: Training(
            epochs=20, optimizer="sgd", momentum=0.0, learning_rate=8.0
        ),
        fit=_fit,
        storages=("int8", "int2"),
        produces=frozenset({Property.GRIDS}),
    )
)
