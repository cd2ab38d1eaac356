"""The operations: one class an op, found by name in `staticnet.ir.op.OPS`.

Importing this room registers all of them.
"""

from staticnet.ops import (
    arithmetic,
    barrier,
    comparison,
    creation,
    getitem,
    indexing,
    library,
    linalg,
    methods,
    movement,
    numpy_protocol,
    random,
    reduction,
    selection,
    shape,
    sorting,
    state,
    tiling,
    transcendental,
)

__all__ = [
    "arithmetic",
    "barrier",
    "comparison",
    "creation",
    "getitem",
    "indexing",
    "library",
    "linalg",
    "methods",
    "movement",
    "numpy_protocol",
    "random",
    "reduction",
    "selection",
    "shape",
    "sorting",
    "state",
    "tiling",
    "transcendental",
]
