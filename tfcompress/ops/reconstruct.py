"""Fits low-rank kernels to a layer's responses to real inputs, not to its weights: NumPy only.

All functions take inputs as rows: what one output position sees, flattened as the kernel is. With
`X` (rows, inputs), a kernel `B` (inputs, outputs) and its low-rank stand-in `K`, they minimise

```
||X K - X B||^2 / rows = tr((K - B)' C (K - B)),   C = X'X / rows
```

A small ridge is added to C: directions that no row shows count as if they were seen a little, so
that there the weights decide.

Reference:
    Zhang, Zou, He, Sun 2016, "Accelerating Very Deep Convolutional Networks for Classification and
    Detection", arXiv:1505.06798, sections 3.1 and 3.3; without the nonlinearity of section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tfcompress.ops import factorize
from tfcompress.ops.padding import output_length, same_pads

Array = np.ndarray

# Shares of the inputs' mean square that are added to C. The first is only there for directions
# without data; the second also keeps the regression, which has as many unknowns as the kernel has
# weights, from following the noise of a few thousand rows.
_RIDGE = 1e-4
_REGRESSION_RIDGE = 1e-2


def patches(
    images: Array,
    positions: Array,
    kernel_size: tuple[int, int],
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str = "valid",
    dilation_rate: tuple[int, int] = (1, 1),
) -> Array:
    """Returns the part of its inputs that each chosen output of a convolution sees.

    Args:
        images: (images, height, width, channels).
        positions: (images, count), of each image: row * new_width + column among the outputs.
        kernel_size: as of `keras.layers.Conv2D`.
        strides: as of `keras.layers.Conv2D`.
        padding: `"valid"` or `"same"`.
        dilation_rate: as of `keras.layers.Conv2D`.

    Returns:
        (images * count, kernel height * kernel width * channels), in the kernel's order.
    """
    size = images.shape[1:3]
    pads = [(0, 0), (0, 0), (0, 0), (0, 0)]
    outputs = output_size(size, kernel_size, strides, padding, dilation_rate)
    if padding == "same":
        geometry = zip(size, kernel_size, strides, dilation_rate, strict=True)
        pads[1:3] = [same_pads(*axis) for axis in geometry]
    padded = np.pad(images, pads)
    row, column = np.divmod(positions, outputs[1])
    # (images, count, 1, 1) with (kernel height, 1) and (kernel width)
    taps = [np.arange(k) * step for k, step in zip(kernel_size, dilation_rate, strict=True)]
    rows = row[..., None, None] * strides[0] + taps[0][:, None]
    columns = column[..., None, None] * strides[1] + taps[1]
    which = np.arange(len(images))[:, None, None, None]
    seen: Array = padded[which, rows, columns]  # (images, count, height, width, channels)
    return seen.reshape(positions.size, -1)


def output_size(
    size: tuple[int, ...],
    kernel_size: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    padding: str = "valid",
    dilation_rate: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    """Returns height and width of a convolution's output.

    >>> output_size((7, 8), (3, 3), strides=(2, 2), padding="same")
    (4, 4)
    """
    height, width = (
        output_length(n, kernel, stride, padding, dilation)
        for n, kernel, stride, dilation in zip(
            size, kernel_size, strides, dilation_rate, strict=True
        )
    )
    return height, width


def regress(
    inputs: Array, targets: Array, kernel: Array, ridge: float = _REGRESSION_RIDGE
) -> Array:
    """Returns the kernel, near the given one, whose responses to inputs are nearest to targets.

    ```
    B = K + (C + ridge I)^-1 X' (Y - X K) / rows
    ```

    Where the layers before are compressed already, the inputs aren't those that the kernel was
    trained on; this, the asymmetric reconstruction of section 3.3, makes up for their errors. With
    the original inputs it returns the kernel itself.

    Args:
        inputs: (rows, inputs).
        targets: (rows, outputs).
        kernel: (inputs, outputs).
        ridge: as a share of the inputs' mean square.
    """
    rows, width = inputs.shape
    x, kernel = inputs.astype(np.float64), kernel.astype(np.float64)
    errors = targets - x @ kernel
    damping = _damping(x, ridge) * rows
    if width <= rows:
        step = np.linalg.solve(x.T @ x + damping * np.eye(width), x.T @ errors)
    else:
        # The same by the smaller matrix.
        step = x.T @ np.linalg.solve(x @ x.T + damping * np.eye(rows), errors)
    return np.asarray(kernel + step)


def low_rank(inputs: Array, kernel: Array, rank: int, ridge: float = _RIDGE) -> Array:
    """Returns the kernel of a rank whose responses are nearest to the kernel's, in closed form.

    ```
    K = B V V',   V the first eigenvectors of B' C B, the responses' principal axes
    ```

    Args:
        inputs: (rows, inputs).
        kernel: (..., outputs), whose first axes are the inputs.
        rank: of the result as (inputs, outputs), at most.
        ridge: as a share of the inputs' mean square.

    Returns:
        The kernel of that rank, float64.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    x = inputs.astype(np.float64)
    responses = x @ matrix
    second = responses.T @ responses / len(x) + _damping(x, ridge) * (matrix.T @ matrix)
    _, vectors = np.linalg.eigh(second)
    axes = vectors[:, ::-1][:, :rank]
    return np.asarray(matrix @ axes @ axes.T).reshape(kernel.shape)


def separable(
    inputs: Array,
    kernel: Array,
    rank: int,
    *,
    ridge: float = _RIDGE,
    sweeps: int = 10,
    steps: int = 10,
) -> Array:
    """Returns a vertical and horizontal convolution's kernel with responses near the kernel's.

    ```
    K[i, j, c, n] = sum_k V[i, c, k] * H[j, k, n]
    ```

    There is no closed form in this metric. From the one of the weights, H is solved exactly and V
    improved by conjugate gradients, in turns. Neither step raises the error, so the result is never
    worse on these inputs than the weights' form; it may be a local minimum.

    Args:
        inputs: (rows, height * width * channels).
        kernel: (height, width, channels, filters).
        rank: channels between the two convolutions.
        ridge: as a share of the inputs' mean square.
        sweeps: over both.
        steps: of conjugate gradients in each sweep.

    Returns:
        The kernel of that form, float64.
    """
    height, width, channels, filters = kernel.shape
    tall = height * channels
    x = inputs.reshape(-1, height, width, channels).transpose(0, 2, 1, 3).reshape(len(inputs), -1)
    x = x.astype(np.float64)
    metric = x.T @ x / len(x) + _damping(x, ridge) * np.eye(x.shape[1])
    # By column of the kernel, and within it by row and channel.
    wanted = kernel.astype(np.float64).transpose(1, 0, 2, 3).reshape(width * tall, filters)
    target = (metric @ wanted).reshape(width, tall, filters)
    vertical, _ = factorize.spatial(kernel.astype(np.float32), rank).factors
    v = vertical.reshape(tall, -1).astype(np.float64)
    rank = v.shape[1]
    by_column = metric.reshape(width * tall, width, tall)

    def responses(v: Array) -> Array:
        """Returns the metric's products with V in each column: (width, tall, width, rank)."""
        return (by_column.reshape(-1, tall) @ v).reshape(width, tall, width, rank)

    for _ in range(sweeps):
        h = _best_horizontal(v, responses(v), target)
        v, h = _orthonormal_rows(v, h)
        between = np.einsum("krn,jsn->krjs", h, h, optimize=True)

        def normal(v: Array, between: Array = between) -> Array:
            return np.einsum("jakr,krjs->as", responses(v), between, optimize=True)

        v = _conjugate_gradients(
            normal, np.einsum("jan,jsn->as", target, h, optimize=True), v, steps
        )
    product = np.einsum("icr,jrn->ijcn", v.reshape(height, channels, rank), h, optimize=True)
    return np.asarray(product)


def _best_horizontal(v: Array, responses: Array, target: Array) -> Array:
    """Solves for H at a given V: (width, rank, filters), by least squares.

    Args:
        v: (tall, rank).
        responses: the metric's products with V in each column, (width, tall, width, rank).
        target: the metric's products with the kernel, (width, tall, filters).
    """
    width, _, filters = target.shape
    rank = v.shape[1]
    gram = np.einsum("ar,jaks->jrks", v, responses, optimize=True).reshape(width * rank, -1)
    right = np.einsum("ar,jan->jrn", v, target, optimize=True).reshape(width * rank, -1)
    return np.linalg.lstsq(gram, right, rcond=1e-12)[0].reshape(width, rank, filters)


def _orthonormal_rows(v: Array, h: Array) -> tuple[Array, Array]:
    """Moves scale and rotation from H to V, so that H's rows are orthonormal; V H stays.

    The least squares problem of V is well conditioned then.

    Args:
        v: (tall, rank).
        h: (width, rank, filters).
    """
    width, rank, filters = h.shape
    turn, scale, axes = np.linalg.svd(h.transpose(1, 0, 2).reshape(rank, -1), full_matrices=False)
    return v @ (turn * scale), axes.reshape(rank, width, filters).transpose(1, 0, 2)


def _damping(x: Array, ridge: float) -> float:
    """Returns what is added to the diagonal of C; with all-zero inputs the weights decide."""
    return ridge * (float((x**2).mean()) or 1.0)


def _conjugate_gradients(
    normal: Callable[[Array], Array], right: Array, x: Array, steps: int
) -> Array:
    """Lowers `x' N x / 2 - right' x` for a positive N that is given as its products."""
    residual = right - normal(x)
    direction = residual
    square = float((residual**2).sum())
    # Below this the residual is rounding, along which a step could go anywhere.
    enough = 1e-24 * float((right**2).sum())
    for _ in range(steps):
        if square <= enough:
            break
        product = normal(direction)
        length = square / float((direction * product).sum())
        x = x + length * direction
        residual = residual - length * product
        before, square = square, float((residual**2).sum())
        direction = residual + square / before * direction
    return x


def response_error(inputs: Array, targets: Array, kernel: Array) -> float:
    """Returns the relative error of responses, `||X K - Y|| / ||Y||`.

    Args:
        inputs: (rows, inputs).
        targets: (rows, outputs).
        kernel: (inputs, outputs).
    """
    lost = float(((inputs @ kernel - targets) ** 2).sum())
    return math.sqrt(lost / (float((targets.astype(np.float64) ** 2).sum()) or 1.0))
