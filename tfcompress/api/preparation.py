"""For a training of the user's own: `tfcompress.prepare`, `callbacks` and `finish`."""

from __future__ import annotations

from typing import Any

import keras

from tfcompress import techniques
from tfcompress.api.file_ratios import FileRatios
from tfcompress.api.transformation import check_model, check_transforms, chosen_steps
from tfcompress.errors import InputError
from tfcompress.graph.nodes import functional, input_structure
from tfcompress.training import clustering, constraints, pruning
from tfcompress.training.fit import compiled_alike


def prepare(
    model: keras.Model, technique: str, *, representative: Any = None, **options: Any
) -> keras.Model:
    """Rebuilds a model by a technique, ready for a training of one's own.

    What comes of it is trained by its `fit` with `tfcompress.callbacks`, or by any other loop that
    ends in an optimizer of Keras; then `tfcompress.finish` makes the plain model. Steps are
    counted from the first one after this call. A model that is compiled is compiled alike.

    Args:
        model: functional or Sequential; it stays as it is.
        technique: `prune`, `cluster`, `qat`, or a name of `tfcompress.techniques.names()` that acts
            before training, such as `xnor`.
        representative: inputs of training examples, as `export` takes them, by which `qat` measures
            the first ranges of activations; others don't need them.
        options: those of the technique. `prune` takes steps: `end_step` of the polynomial
            schedule has to be given.

    Returns:
        A functional model with weights of its own; `cluster` wraps layers, under their names.

    Raises:
        InputError: an unknown technique or option, or one that can't be prepared.

    Example:
        ```python
        prepared = tfcompress.prepare(model, "prune", final_sparsity=0.8, end_step=2000)
        prepared.compile("adam", "mse")
        prepared.fit(x, y, epochs=10, callbacks=tfcompress.callbacks(prepared))
        small = tfcompress.finish(prepared)
        ```
    """
    check_model(model)
    steps = chosen_steps(technique, options, {})
    if len(steps) > 1:
        raise InputError(
            f"prepare takes one technique; got '{technique}': finish the first one, and prepare "
            "what came of it by the next"
        )
    step = steps[0]
    make = step.technique.prepare
    candidate = techniques.Candidate(
        model, samples=_representative(model, representative), file_ratio=FileRatios()
    )
    if make is None:
        check_transforms(step.technique, "prepare")
        prepared = step.technique.transform(candidate, step.options).model
    else:
        prepared = make(candidate, step.options)
    return compiled_alike(prepared, model)


def _representative(model: keras.Model, given: Any) -> Any:
    """Returns inputs in the structure that the model takes; None if there are none."""
    if given is None:
        return None
    from tfcompress.export.representative import as_rows

    rows = as_rows(functional(model), given, "representative")
    return keras.tree.pack_sequence_as(input_structure(model), list(rows.arrays))


def callbacks(prepared: keras.Model) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that the `fit` of a prepared model needs.

    On JAX, where a step returns all that it changes, a loop of one's own needs them, too: compile
    the model, and call `set_model(prepared)` and `on_train_begin()` of each before the first step;
    `prepared.optimizer.stateless_apply` then carries the masks.

    Args:
        prepared: by `tfcompress.prepare`.

    Returns:
        Callbacks of Keras; an empty list if the technique needs none.

    Example:
        ```python
        prepared.fit(x, y, epochs=10, callbacks=[*tfcompress.callbacks(prepared), mine])
        ```
    """
    check_model(prepared)
    return constraints.callbacks(prepared)


def finish(prepared: keras.Model) -> keras.Model:
    """Returns the plain model that a prepared one has become by its training.

    Args:
        prepared: by `tfcompress.prepare`, and trained.

    Returns:
        A new functional model, without masks, schedules or wrappers, compiled as the prepared one
        is, to be saved, evaluated, prepared again or given to `tfcompress.export`. What was pruned
        is zero in it, and clustered kernels have the few values that they shared; trained by
        `qat`, its kernels hold 8-bit values, and `storage="int8"` writes them as they are.

    Example:
        ```python
        small = tfcompress.finish(prepared)
        tfcompress.export(small, "small.tflite")
        ```
    """
    from tfcompress.qat import native

    check_model(prepared)
    if native.is_quantized(prepared):
        plain = native.finished(prepared)
    else:
        plain = pruning.finished(clustering.finished(prepared))
    return compiled_alike(plain, prepared)
