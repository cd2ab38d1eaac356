"""The parts of a plan that are timed: copies before, each launch, copies after."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from staticnet.backends.profile import Part
from staticnet.ir.node import modules_of
from staticnet.plan.explain import BodyAccount, Explanation, KernelAccount, explain
from staticnet.plan.plan import Plan
from staticnet.plan.roles import Role, role


def plan_parts(plan: Plan, products: Collection[str]) -> tuple[list[Part], list[int]]:
    """The parts worth showing, and their numbers among all of them.

    `products` names the dtypes of products whose rate is known.
    """
    parts = [_copies("copies before", plan, True), *_launches(plan, products)]
    parts.append(_copies("copies after", plan, False))
    shown = [i for i, part in enumerate(parts) if part.kind != "copy" or part.bytes]
    return [parts[i] for i in shown], shown


def _launches(plan: Plan, products: Collection[str]) -> list[Part]:
    return [
        _part(f"launch {i}", kernels, products)
        for i, kernels in enumerate(_together(explain(plan)))
    ]


def _together(account: Explanation) -> list[list[KernelAccount]]:
    """The kernels of each launch."""
    launches: list[list[KernelAccount]] = [[] for _ in range(account.launches)]
    for kernel in account.kernels:
        launches[kernel.launch].append(kernel)
    return launches


def _inside(body: BodyAccount, known: Collection[str]) -> tuple[Part, ...]:
    """The launches of a graph in a loop, which are called by their kernels."""
    parts = [_part("", kernels, known) for kernels in _together(body.explanation)]
    return tuple(
        replace(part, name=f"kernel{'s' * (len(part.kernels) > 1)} {part.kernel_range}")
        for part in parts
    )


def _part(name: str, kernels: Sequence[KernelAccount], known: Collection[str]) -> Part:
    kinds = dict.fromkeys(kernel.space for kernel in kernels)
    products = [
        kernel.nodes[0].inputs[0].dtype.name
        for kernel in kernels
        if role(kernel.nodes[0]) is Role.LIBRARY
    ]
    products = [name for name in products if name in known]
    return Part(
        name,
        ", ".join(kinds),
        sum(kernel.bytes for kernel in kernels),
        sum(kernel.flops for kernel in kernels),
        tuple(dict.fromkeys(line for kernel in kernels for line in kernel.lines)),
        products[0] if products else "",
        tuple(kernel.number for kernel in kernels),
        tuple(dict.fromkeys(module for kernel in kernels for module in kernel.modules)),
        kernels[0].inside,
        tuple(_inside(body, known) for kernel in kernels for body in kernel.bodies),
    )


def _copies(name: str, plan: Plan, before: bool) -> Part:
    copies = [*plan.first_copies, *plan.saved.items()] if before else plan.last_copies
    nodes = [node for node, _ in copies]
    lines = tuple(dict.fromkeys(node.provenance.origin for node in nodes))
    moved = sum(2 * int(node.type.nbytes) for node in nodes)
    modules = modules_of(nodes)
    return Part(name, "copy", moved, 0, lines, modules=modules)
