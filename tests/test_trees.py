"""Trees of arguments and results: the order of their leaves, and prefixes of them."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError
from staticnet.ir.tree import flatten, spread_prefix

Pair = namedtuple("Pair", "a b")


def test_leaves_come_in_the_order_of_keys() -> None:
    leaves, tree = flatten({"b": 1, "a": [2, None, Pair(3, {})]})
    assert leaves == [2, 3, 1]
    assert tree.unflatten("xyz") == {"a": ["x", None, Pair("y", {})], "b": "z"}


def test_an_ordered_dict_keeps_its_own_order() -> None:
    given = OrderedDict(b=1, a=2)
    leaves, tree = flatten(given)
    assert leaves == [1, 2]
    assert tree.unflatten(leaves) == given
    x = sn.placeholder((3,))
    last, rows = sn.scan(lambda c, x: (c, OrderedDict(z=x, c=x)), OrderedDict(b=x, a=x), x)
    assert (list(last), list(rows)) == (["b", "a"], ["z", "c"])
    mixed, _ = flatten(OrderedDict([("b", 1), (2, 3)]))  # nothing to put in order
    assert mixed == [1, 3]


def test_trees_are_as_in_jax() -> None:
    jax = pytest.importorskip("jax")
    for tree in ({"b": 1, "a": [2, {}]}, OrderedDict(b=1, a=(2, None)), Pair([1], {2: 3, 1: 4})):
        theirs, structure = jax.tree.flatten(tree)
        mine, own = flatten(tree)
        assert mine == theirs
        assert own.unflatten(mine) == structure.unflatten(theirs)


@pytest.mark.parametrize(
    ("prefix", "tree", "found"),
    [
        (0, {"a": 1, "b": (2, 3)}, [0, 0, 0]),
        ({"b": 0, "a": 1}, {"a": 1, "b": (2, 3)}, [1, 0, 0]),
        ([0, (1, 0)], (5, [6, 7]), [0, 1, 0]),
        ((0, 1), Pair(5, [6, 7]), [0, 1, 1]),
        ({}, {}, []),
        ({}, (), None),
        ((), {}, None),
        ((0,), (1, 2), None),
        ({1: 0, "a": 0}, {1: 2}, None),
        ({"a": 0}, (1,), None),
        ((0, ((),)), (1, (2, 3)), None),
    ],
)
def test_a_prefix_of_a_tree(prefix: Any, tree: Any, found: Any) -> None:
    _, structure = flatten(tree)
    assert spread_prefix(prefix, structure, lambda entry: isinstance(entry, int)) == found


@pytest.mark.parametrize(
    "use",
    [
        lambda x, bad: sn.vmap(lambda a: a)(bad),
        lambda x, bad: sn.vmap(lambda a: bad)(x),
        lambda x, bad: sn.checkpoint(lambda a: a[1])(bad),
        lambda x, bad: sn.scan(lambda c, a: (c, a), x, bad),
        lambda x, bad: sn.scan(lambda c, a: (c, bad), x, x),
        lambda x, bad: sn.while_loop(lambda c: True, lambda c: c, bad),
        lambda x, bad: sn.cond(x[0] > 0, lambda: bad, lambda: bad),
        lambda x, bad: sn.grad(lambda d: sn.sum(d[1]))(bad),
    ],
)
def test_keys_that_have_no_order(use: Any) -> None:
    x = sn.placeholder((3,))
    with pytest.raises(ArgumentError, match="cannot be put in order") as caught:
        use(x, {1: x, "a": x})
    assert "(tests/test_trees.py:" in str(caught.value)


@pytest.mark.parametrize("axes", [({1: 0, "a": 0},), ({"a": 0},), (0, 0), ((0,),), ("a",)])
def test_axes_that_do_not_fit(axes: Any) -> None:
    x = sn.placeholder((3,))
    with pytest.raises(ArgumentError, match="vmap: in_axes=.* does not fit") as caught:
        sn.vmap(lambda d: d, in_axes=axes)({1: x})
    assert "(tests/test_trees.py:" in str(caught.value)
    y = sn.vmap(lambda d: d[1], in_axes=({1: 0},))({1: x})
    np.testing.assert_array_equal(sn.function(x, y)(np.arange(3, dtype="f")), [0, 1, 2])
