"""Functions whose result has as many elements as the values say: only where values are known.

Their results are indices, counts, or values without a derivative.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from staticnet.dynamic.creation import as_tensor
from staticnet.dynamic.operands import array_module
from staticnet.dynamic.tensor import Tensor
from staticnet.errors import ShapeError


class UniqueAll(NamedTuple):
    """Distinct values, where each stands first, which one each element is, and how often each."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Distinct values, and how often each stands."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Distinct values, and which one each element is."""

    values: Tensor
    inverse_indices: Tensor


def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """The indices of x's nonzero elements, in C order, one tensor an axis.  x: [*s] -> int64 [n]

    Raises:
        ShapeError: if x has no axes.
    """
    data = as_tensor(x).data
    if data.ndim == 0:
        raise ShapeError("nonzero: takes at least 1 axis; expand_dims gives one")
    return tuple(Tensor(indices) for indices in array_module([data]).nonzero(data))


def unique_all(x: Any, /) -> UniqueAll:
    """x's distinct elements, sorted, each NaN one; indices of the first of each; inverse; counts.

    x: [*s] -> values, indices, counts: [n], inverse_indices: [*s]
    """
    data = as_tensor(x).data
    values, indices, inverse, counts = array_module([data]).unique(
        data, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    return UniqueAll(
        Tensor(values), Tensor(indices), Tensor(inverse.reshape(data.shape)), Tensor(counts)
    )


def unique_counts(x: Any, /) -> UniqueCounts:
    """x's distinct elements, sorted, each NaN one, and how often each stands.

    x: [*s] -> values, counts: [n]
    """
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """x's distinct elements, sorted, each NaN one, and which one each element is.

    x: [*s] -> values: [n], inverse_indices: [*s]
    """
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Any, /) -> Tensor:
    """x's distinct elements, sorted, each NaN one.  x: [*s] -> [n]"""
    data = as_tensor(x).data
    return Tensor(array_module([data]).unique(data, equal_nan=False))
