"""Pruning of musicnn: the filters of its front end that are zero, which are most of them, contribute constants."""

from collections.abc import Mapping

import numpy as np

from genreflow.embedding.checkpoint import BATCH_NORM_PARTS, FRONT_END, batch_norm_name
from genreflow.embedding.musicnn import EPSILON

# A filter is dead if its normalised output changes by less than this per unit of its input, which is of the order of 1:
# float32 cannot represent that beside values of the order of 1. In MSD_musicnn no filter is between 1e-7 and 1e-3.
DEAD_BELOW = 1e-7


def prune(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Remove the dead filters of the front end; the outputs stay the same, but for values that were constant.

    The value of a dead filter is the same in every frame of every input. The layer after the front end pads time with
    zeros, so that such a value is not a plain bias there: beside the ends it is missing. Therefore one filter whose
    value is 1 replaces all dead ones, with the sum of their weights. In the layer `dense` they become part of the bias.

    Parameters
    ----------
    weights : mapping of str to np.ndarray
        As `genreflow.embedding.checkpoint.read_weights` returns them.

    Returns
    -------
    dict of str to np.ndarray
        Of a network with fewer filters; that of the constant 1 is the last one of the front end.
    """
    live, constants = _front_end(weights)
    pruned = dict(weights)
    begin = 0
    for index, name in enumerate(FRONT_END, 1):
        kept = live[begin : begin + weights[f"{name}/bias"].size]
        begin += kept.size
        for variable in _variables(name, index):
            pruned[variable] = weights[variable][..., kept]
    for variable, value in zip(_variables(name, index), (0, 1, 1, 0, 0, 1 - EPSILON), strict=True):
        added = np.full((*pruned[variable].shape[:-1], 1), value, np.float32)
        pruned[variable] = np.concatenate([pruned[variable], added], axis=-1)

    kernel = weights["conv2d_5/kernel"].astype(np.float64)
    one = np.einsum("tfcn,f->tcn", kernel[:, ~live], constants[~live])[:, None]
    pruned["conv2d_5/kernel"] = np.concatenate([kernel[:, live], one], axis=1).astype(np.float32)
    return pruned | _prune_dense(weights, live, constants)


def _variables(name: str, index: int) -> list[str]:
    """Return the variables of a convolution and of the batch normalisation after it."""
    return [f"{name}/kernel", f"{name}/bias", *(f"{batch_norm_name(index)}/{part}" for part in BATCH_NORM_PARTS)]


def _front_end(weights: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return which filters of the front end are live, and the value of each filter for an input of zeros."""
    live, constants = [], []
    for index, name in enumerate(FRONT_END, 1):
        kernel, bias = (weights[f"{name}/{part}"].astype(np.float64) for part in ("kernel", "bias"))
        scale, offset = _affine(weights, index)
        effect = np.abs(scale) * np.abs(kernel).sum(axis=(0, 1, 2))
        live.append(effect >= min(DEAD_BELOW, effect.max()))  # at least one: a layer without filters cannot be built
        constants.append(scale * np.maximum(bias, 0) + offset)
    return np.concatenate(live), np.concatenate(constants)


def _affine(weights: Mapping[str, np.ndarray], index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch normalisation as scale and offset."""
    gamma, beta, mean, variance = (
        weights[f"{batch_norm_name(index)}/{part}"].astype(np.float64) for part in BATCH_NORM_PARTS
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    return scale, beta - scale * mean


def _prune_dense(weights: Mapping[str, np.ndarray], live: np.ndarray, constants: np.ndarray) -> dict[str, np.ndarray]:
    """Return the layer `dense`, and the normalisation before it, without the maximum and mean of dead filters."""
    scale, offset = _affine(weights, 9)
    kernel, bias = (weights[f"dense/{part}"].astype(np.float64) for part in ("kernel", "bias"))
    dead = np.flatnonzero(~live)
    for column in (2 * dead, 2 * dead + 1):  # maximum and mean alternate
        bias = bias + (scale[column] * constants[dead] + offset[column]) @ kernel[column]
    # -1 stands for the constant 1, whose weights are zero.
    features = np.concatenate([np.flatnonzero(live), [-1], np.arange(live.size, len(kernel) // 2)])
    columns = np.stack([np.where(features < 0, -1, 2 * features + part) for part in (0, 1)], axis=1).ravel()
    pruned = {
        variable: np.where(columns < 0, 1, weights[variable][columns]).astype(np.float32)
        for variable in (f"{batch_norm_name(9)}/{part}" for part in BATCH_NORM_PARTS)
    }
    pruned["dense/kernel"] = np.where(columns[:, None] < 0, 0, kernel[columns]).astype(np.float32)
    pruned["dense/bias"] = bias.astype(np.float32)
    return pruned
