"""`sn.checkpoint`: what is computed again in the backward pass rather than kept for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from staticnet.control.call import Checkpoint, called
from staticnet.control.state_updates import StateUpdate, taken_out
from staticnet.control.trace import flattened, is_eager, leaves_of, some
from staticnet.control.traced import substitute
from staticnet.errors import ArgumentError
from staticnet.ir.location import user_line
from staticnet.ir.node import newer
from staticnet.ir.tree import flatten
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.ops.base import as_value
from staticnet.ops.state import Variable
from staticnet.ops.with_update import with_update


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function like f, whose inner values the backward pass computes again, and does not keep.

    Arguments and results are trees; what in them is neither a node nor an array stays as it is.
    Tensors of dynamic execution keep theirs.

    Raises:
        ArgumentError: if f is no function, or gives something else than values.
    """
    if not callable(f):
        raise ArgumentError(f"checkpoint: takes a function, not {f!r:.60} ({user_line()})")

    f = guarded("checkpoint: f", f)

    @functools.wraps(f, updated=())
    def again(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = flattened("checkpoint", (args, kwargs))
        moving = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Value | np.ndarray)]
        given = [as_value(leaves[i]) for i in moving]
        if is_eager(given):
            return f(*args, **kwargs)
        updates: list[StateUpdate] = []

        def on(own: Sequence[Any]) -> Any:
            known = dict(zip(moving, own, strict=True))
            new = tree.unflatten([known.get(i, leaf) for i, leaf in enumerate(leaves)])
            results, structure = leaves_of(
                "checkpoint: what the function returns", some("checkpoint", f(*new[0], **new[1]))
            )
            if not is_eager(results):
                results, found, _ = taken_out(results, newer(own))
                updates.extend(found)
            return structure.unflatten(results), [update.observed for update in found]

        results, observed = called("checkpoint", on, given, lambda body, tree: Checkpoint(body))
        return _with_updates(results, updates, observed)

    return again


def _with_updates(results: Any, updates: Sequence[StateUpdate], observed: Sequence[Any]) -> Any:
    """The results, on each of which the updates stand that the function made inside."""
    leaves, structure = flatten(results)
    for (target, inside, following), outside in zip(updates, observed, strict=True):
        assert isinstance(target, Variable)
        (made,) = substitute([following], {inside: outside})
        leaves = [with_update(leaf, target, outside, made) for leaf in leaves]
    return structure.unflatten(leaves)
