"""Many steps on data sets: epochs of batches, in the order of the examples or a random one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.backends.base import Executable
from staticnet.errors import FeedError
from staticnet.ops.arguments import as_size
from staticnet.ops.random import permutation_array


def size_of_batch(sets: Sequence[Any], batch_size: Any) -> int:
    """The examples of a step: `batch_size` of them, or all if it is None.

    Raises:
        ArgumentError: if the size is no positive int.
        FeedError: if it is larger than the data sets, they differ in length, or there are none.
    """
    if not sets and batch_size is None:
        return 1
    lengths = {len(x) if x.ndim else 0 for x in sets}
    if len(lengths) != 1:
        given = f"not {sorted(lengths)}" if sets else "but there are no placeholders to feed"
        raise FeedError(f"run: the data sets must have one length, {given}")
    (count,) = lengths
    size = as_size(count if batch_size is None else batch_size, "run: batch_size")
    if size > count:
        raise FeedError(f"run: a batch of {size} does not fit a data set of {count}")
    return size


def run_epochs(
    executable: Executable, sets: Sequence[Any], steps: int, size: int, seed: int | None
) -> list[Any]:
    """So many steps of `size` examples each; shuffled anew in each epoch if there is a seed.

    -> each output, stacked: [steps, *t]
    """
    if not sets:  # one example, of nothing, again and again
        return executable.run_many([], steps, size, np.zeros(1, np.int64))
    sets = executable.place(sets)
    if seed is None:
        return executable.run_many(sets, steps, size)
    count = len(sets[0])
    per_epoch = count // size
    parts = []
    for first in range(0, steps, per_epoch):
        order = permutation_array(seed, first // per_epoch, count)
        parts.append(executable.run_many(sets, min(per_epoch, steps - first), size, order))
    return parts[0] if len(parts) == 1 else [np.concatenate(x) for x in zip(*parts, strict=True)]
