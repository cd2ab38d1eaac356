"""`sn.checkpoint`: what is computed again in the backward pass rather than kept for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from staticnet.control.call import Checkpoint, called
from staticnet.control.trace import flattened, is_eager
from staticnet.errors import ArgumentError
from staticnet.ir.location import user_line
from staticnet.ir.value import Value
from staticnet.ops.base import as_value


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function like f, whose inner values the backward pass computes again, and does not keep.

    Arguments and results are trees; what in them is neither a node nor an array stays as it is.
    Tensors of dynamic execution keep theirs.

    Raises:
        ArgumentError: if f is no function, or gives something else than values.
    """
    if not callable(f):
        raise ArgumentError(f"checkpoint: takes a function, not {f!r:.60} ({user_line()})")

    @functools.wraps(f, updated=())
    def again(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = flattened("checkpoint", (args, kwargs))
        moving = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Value | np.ndarray)]
        given = [as_value(leaves[i]) for i in moving]
        if is_eager(given):
            return f(*args, **kwargs)

        def on(own: Sequence[Any]) -> Any:
            known = dict(zip(moving, own, strict=True))
            new = tree.unflatten([known.get(i, leaf) for i, leaf in enumerate(leaves)])
            return f(*new[0], **new[1])

        return called("checkpoint", on, given, lambda body, tree: Checkpoint(body))

    return again
