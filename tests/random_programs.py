"""Random programs for property tests: seeded, well typed by construction, of nearly all ops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from random_steps import STEPS
from random_terms import BITS, Maker, Term, feed

import staticnet as sn
from staticnet.ir.dtype import is_floating


@dataclass
class Program:
    """Placeholders, outputs, and the next values of state; what the values start from is `seed`."""

    seed: int
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Term] = field(default_factory=list)
    updates: dict[Any, Term] = field(default_factory=dict)
    inner: list[Term] = field(default_factory=list)

    @property
    def graph(self) -> sn.Graph:
        updates = tuple((v, t.node) for v, t in self.updates.items())
        return sn.Graph("random", self.inputs, [t.node for t in self.outputs], updates)

    def feeds(self, step: int, dims: Mapping[str, int]) -> list[Any]:
        """The arrays of a step."""
        return [feed(node, self.seed, step, dims) for node in self.inputs]

    def begin(self) -> None:
        """Set all state to what it starts from."""
        for variable in self.graph.variables:
            variable.value = feed(variable, self.seed)  # type: ignore[attr-defined]


def replay(text: str, seed: int = 0) -> Program:
    """The program of a failure's text, with room for the rounding of a few operations."""
    graph = sn.parse(text)
    bits = [BITS.get(node.dtype.name) for node in graph.roots]
    noise = [0.0 if n is None else 2.0 ** (4 - n) for n in bits]
    terms = [Term(x, noise=e, exact=not e) for x, e in zip(graph.roots, noise, strict=True)]
    count = len(graph.outputs)
    targets = [target for target, _ in graph.updates]
    updates = dict(zip(targets, terms[count:], strict=True))
    return Program(seed, [*graph.inputs], terms[:count], updates)


def side_by_side(programs: Sequence[Program]) -> Program:
    """Several programs of one seed as one: compiling is what takes the time."""
    whole = Program(programs[0].seed)
    for program in programs:
        whole.inputs += program.inputs
        whole.outputs += program.outputs
        whole.inner += program.inner
        whole.updates |= program.updates
    return whole


def make(seed: int, number: int, kind: str = "small", steps: int = 10) -> Program:
    """Program `number` of a seed. Kinds: small, large, symbolic, rows (equal first axes)."""
    maker = Maker(seed, number, kind)
    maker.begin()
    for _ in range(int(maker.rng.integers(2, steps + 1))):
        made = maker.any(STEPS)(maker)
        if made is not None and maker.count(made.node.shape) <= maker.room():
            maker.pool.append(made)
    return _finish(maker, seed)


def batch(seed: int, count: int, kind: str = "small") -> Program:
    """Several programs as one: compiling is what takes the time."""
    return side_by_side([make(seed, number, kind) for number in range(count)])


def _finish(maker: Maker, seed: int) -> Program:
    inner = maker.pool[len(maker.inputs) + len(maker.state) :] or maker.pool
    outputs = [inner[-1], *(maker.any(inner) for _ in range(maker.rng.integers(4)))]
    outputs += _gradients(maker)
    updates = {
        node: _update(maker, node, held) for node, held in maker.state.items() if maker.chance(0.85)
    }
    return Program(seed, maker.inputs, outputs, updates, inner)


def _gradients(maker: Maker) -> list[Term]:
    """Derivatives, of which only the bits are compared: nothing is known of their noise."""
    wide = [t for t in maker.pool if t.node.dtype in ("float32", "float64")]
    leaves = [t.node for t in wide if not t.node.inputs]
    if maker.how == "w" or not leaves or maker.chance(0.7):
        return []
    y, x = wide[-1].node, maker.any(leaves)
    (derivative,) = sn.vjp(y, x, sn.ones_like(y), allow_unused=True)
    return [Term(derivative, noise=math.inf, exact=False)]


def _update(maker: Maker, node: Any, held: Term) -> Term:
    """The next value of state, of which holds what is held of the present one."""

    def fits(x: Term) -> bool:
        if x.node.type != node.type or x.node is node:
            return False
        return x.exact if held.exact else x.noise <= held.noise

    found = maker.pick(fits) or held
    new = found.node
    if (new is node or maker.chance(0.3)) and new.ndim:
        new = sn.flip(new, maker.axis(new))
    if is_floating(new.dtype) and found.bound > held.bound:
        new = sn.clip(new, -held.bound, held.bound)
    return replace(held, node=new)
