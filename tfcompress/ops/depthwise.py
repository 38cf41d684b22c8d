"""Writes full convolution kernels as depthwise and pointwise ones."""

from __future__ import annotations

import numpy as np


def factorise(kernel: np.ndarray, depth_multiplier: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Returns the depthwise and pointwise kernels whose product is nearest to a kernel.

    ```
    K[c] = U S V^T  of height * width rows and filters columns, for each channel c
    D[., ., c, j] = U[:, j]                   j < depth_multiplier
    P[c, j, :] = S[j] * V[:, j]
    ```

    Depthwise kernels have norm 1, since a batch normalisation behind them expects values of about
    that size. The sum of their weights is never negative, so that inputs that passed a ReLU mostly
    pass another one behind them. At `depth_multiplier = min(height * width, filters)` the product
    is exact.

    Args:
        kernel: (height, width, channels, filters).
        depth_multiplier: depthwise kernels for each channel; columns beyond the rank are 0.

    Returns:
        (height, width, channels, depth_multiplier) and
        (1, 1, channels * depth_multiplier, filters).

    Reference:
        He et al. 2019, "Depth-wise Decomposition for Accelerating Separable Convolutions",
        arXiv:1910.09455, section 3.2.
    """
    height, width, channels, filters = kernel.shape
    slices = kernel.reshape(height * width, channels, filters).transpose(1, 0, 2)
    u, s, vt = np.linalg.svd(slices.astype("float64"), full_matrices=False)
    flip = np.where(u.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)  # (channels, 1, rank)
    left = u * flip  # (channels, height * width, rank)
    right = vt * flip.transpose(0, 2, 1) * s[:, :, None]  # (channels, rank, filters)
    columns = min(depth_multiplier, s.shape[1])
    depthwise = np.zeros((channels, height * width, depth_multiplier))
    pointwise = np.zeros((channels, depth_multiplier, filters))
    depthwise[..., :columns], pointwise[:, :columns] = left[..., :columns], right[:, :columns]
    return (
        depthwise.transpose(1, 0, 2).reshape(height, width, channels, -1).astype(kernel.dtype),
        pointwise.reshape(1, 1, -1, filters).astype(kernel.dtype),
    )
