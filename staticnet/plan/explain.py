"""`explain`: which nodes share a kernel, what each kernel moves, and why it is no larger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from staticnet.ir.location import common_module, in_module
from staticnet.ir.node import Node, modules_of
from staticnet.ir.printer import statements, value_names
from staticnet.ir.shown import Shown, Table
from staticnet.ir.types import fixed, format_shape
from staticnet.ops.own_rules import flops_of_node
from staticnet.plan.by_module import ByModule, by_module
from staticnet.plan.fusion import Group
from staticnet.plan.plan import Plan
from staticnet.plan.results import bodies_of
from staticnet.plan.text import Locations, overwritten


@dataclass(frozen=True)
class Access:
    """A value that a kernel reads or writes, how many bytes of it, and where it lies."""

    value: str
    bytes: int
    place: str

    def __str__(self) -> str:
        return f"{self.value} ({self.bytes:,})"


@dataclass(frozen=True)
class Apart:
    """Why `user` is not in the kernel `maker`, which makes its operand `value`."""

    value: str
    maker: int
    user: str
    reason: str

    def __str__(self) -> str:
        return f"{self.user} is not in kernel {self.maker} with {self.value}: {self.reason}"


@dataclass(frozen=True)
class KernelAccount:
    """One kernel or routine: `nodes` over the index space `domain`, run by launch `launch`.

    `number` is what plan, source, profile and report call it by. `function` is its name in
    the source, "" if there is none; `like` names another kernel, the first that runs the same one.
    `bytes` are those read and written, each buffer once, and partial results both ways. `in_place`
    pairs each value that it writes over one that it reads with the latter. `again` are values of
    other kernels that it computes again instead of reading them. `lines` are the user's,
    and `modules` the paths of the modules in which they ran. `bodies` are the accounts of graphs
    that a loop or choice runs, whose kernels are called by `inside`, the loop's name, and a number.
    `reasons` tell, of each operand from another kernel, why it is not made in this one.
    """

    number: int
    launch: int
    kind: str
    domain: tuple[int, ...]
    nodes: tuple[Node, ...]
    statements: tuple[str, ...]
    reads: tuple[Access, ...]
    writes: tuple[Access, ...]
    in_place: tuple[tuple[str, str], ...]
    bytes: int
    flops: int
    lines: tuple[str, ...]
    reasons: tuple[Apart, ...]
    function: str = ""
    like: str = ""
    modules: tuple[str, ...] = ()
    inside: str = ""
    bodies: tuple[BodyAccount, ...] = ()
    again: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`4`, or `4.2` of a kernel in a loop."""
        return f"{self.inside}{self.number}"

    @property
    def space(self) -> str:
        """`map [64,10]`: the kind and the index space."""
        return f"{self.kind} {format_shape(self.domain)}"

    def __str__(self) -> str:
        head = f"kernel {self.label}: {self.space}"
        short = list(map(_without_graphs, self.statements))
        width = max((len(text) for text in short if len(text) <= _WIDTH), default=0)
        like = f", as kernel {self.like}" if self.like else ""
        told = f"{self.bytes:,} bytes, {self.flops:,} FLOPs{in_module(self.modules)}{like}"
        lines = [f"{head}, {told}"]
        for statement, node in zip(short, self.nodes, strict=True):
            lines.append(f"  {statement:<{width}}  // {node.provenance}")
        for word, accesses in (("reads", self.reads), ("writes", self.writes)):
            lines += [f"  {word} {', '.join(map(str, accesses))}"] if accesses else []
        lines += [f"  {line}" for line in map(_on_host, self.nodes) if line]
        over = ", ".join(f"{new} over {old}" for new, old in self.in_place)
        lines += [f"  in place {over}"] if over else []
        lines += [f"  computes again {', '.join(self.again)}"] if self.again else []
        lines += [f"  {line}" for body in self.bodies for line in str(body).splitlines()]
        return "\n".join([*lines, *self._apart()])

    def _apart(self) -> list[str]:
        """The reasons, one line for all operands that share one."""
        edges: dict[tuple[int, str], list[str]] = {}
        for apart in self.reasons:
            edge = f"{apart.user} reads {apart.value}"
            edges.setdefault((apart.maker, apart.reason), []).append(edge)
        return [
            f"  not in kernel {self.inside}{maker} ({', '.join(pairs)}): {reason}"
            for (maker, reason), pairs in edges.items()
        ]


_WIDTH = 80  # of statements that the user's lines stand beside in a column


def _without_graphs(statement: str) -> str:
    """A statement on one line, as far as the first graph in it."""
    first, *more = statement.splitlines()
    return f"{first} … }}" if more else first


@dataclass(frozen=True)
class BodyAccount:
    """The account of a graph that a loop runs `steps` times; None if only a run knows that."""

    name: str
    steps: int | None
    explanation: Explanation

    def __str__(self) -> str:
        told = self.explanation
        times = "" if self.steps is None else f", {self.steps:,} times"
        head = (
            f"{self.name}{times}: {told.launches} launches of {len(told.kernels)} kernels, "
            f"{told.bytes_moved:,} bytes moved, {told.flops:,} FLOPs"
        )
        return "\n".join([head, *(f"  {line}" for line in told.lines())])


class ModuleKernels(NamedTuple):
    """A module's kernels, the bytes that they move and their floating-point operations."""

    kernels: int
    bytes: int
    flops: int


ModuleRow = tuple[tuple[str, ...], ModuleKernels]


def _by_module(kernel: KernelAccount) -> list[ModuleRow]:
    """A kernel's row, behind those of the kernels in it where it is known how often they run."""
    rows: list[ModuleRow] = []
    for body in kernel.bodies:
        if body.steps is None:
            return [(kernel.modules, ModuleKernels(1, kernel.bytes, kernel.flops))]
        for inner in body.explanation.kernels:
            for modules, row in _by_module(inner):
                moved, flops = row.bytes * body.steps, row.flops * body.steps
                rows.append((modules, ModuleKernels(row.kernels, moved, flops)))
    moved = kernel.bytes - sum(row.bytes for _, row in rows)
    flops = kernel.flops - sum(row.flops for _, row in rows)
    return [*rows, (kernel.modules, ModuleKernels(1, moved, flops))]


@dataclass(frozen=True, repr=False)
class Explanation(Shown):
    """The account of a plan, kernel by kernel in the order they run.

    `choice` says how a device launches them and why, where it has a choice.
    """

    graph: str
    launches: int
    bytes_moved: int
    kernels: tuple[KernelAccount, ...]
    choice: str = ""

    @property
    def flops(self) -> int:
        """Floating-point operations of a step."""
        return sum(kernel.flops for kernel in self.kernels)

    def by_module(self, depth: int | None = None) -> ByModule[ModuleKernels]:
        """The kernels of each module, and what they move and compute; `depth` cuts the paths.

        The kernels in a loop count beside it, with what they do at all of its steps.

        Raises:
            ArgumentError: if the depth is not a positive int.
        """
        return by_module((row for kernel in self.kernels for row in _by_module(kernel)), depth)

    def lines(self) -> list[str]:
        """The launches, and the kernels of each."""
        lines = []
        for launch in range(self.launches):
            together = [kernel for kernel in self.kernels if kernel.launch == launch]
            side = ", side by side" if len(together) > 1 else ""
            lines.append(f"launch {launch}{side}")
            lines += [f"  {line}" for kernel in together for line in str(kernel).splitlines()]
        return lines

    def tables(self) -> list[Table]:
        """The kernels in the order they run."""
        columns = ("kernel", "launch", "kind", "nodes", "bytes", "FLOPs", "module", "from")
        rows = [
            (
                str(k.number),
                str(k.launch),
                f"{k.kind} {list(k.domain)}",
                str(len(k.nodes)),
                f"{k.bytes:,}",
                f"{k.flops:,}",
                common_module(k.modules),
                ", ".join(k.lines),
            )
            for k in self.kernels
        ]
        return [Table(self.head(), columns, rows)]

    def head(self) -> str:
        """The sums, in one line."""
        return (
            f"{self.graph}: {self.launches} launches of {len(self.kernels)} kernels, "
            f"{self.bytes_moved:,} bytes moved, {self.flops:,} FLOPs"
        )

    def __str__(self) -> str:
        lines = [self.head(), *([self.choice] if self.choice else []), *self.lines()]
        modules = self.by_module()
        lines += [str(modules)] if modules.is_told else []
        return "\n".join(lines)


def explain(
    plan: Plan, functions: Mapping[Group, str] = MappingProxyType({}), inside: str = "",
    first: int = 0,
) -> Explanation:  # fmt: skip
    """The account of a plan; `functions` are the names of its kernels in a source, if any.

    If it is that of a graph in an op, its kernels are called `inside` and a number from `first` on.
    """
    return _Accounts(plan, functions, {}, inside, first).explanation()


class _Accounts:
    """Makes the accounts of a plan; `users` are the kernels that run a function first."""

    def __init__(
        self, plan: Plan, functions: Mapping[Group, str], users: dict[str, str], inside: str,
        first: int,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.inside = inside
        self.functions = functions
        self.users = users
        self.first = first
        self.names = {node: f"%{name}" for node, name in value_names(plan.graph).items()}
        self.statements = statements(plan.graph)
        self.places = Locations(plan)
        self.numbers = {group: first + number for group, number in plan.numbers.items()}

    def explanation(self) -> Explanation:
        launched = enumerate(self.plan.launched, self.first)
        kernels = tuple(self.kernel(number, *entry) for number, entry in launched)
        plan = self.plan
        return Explanation(plan.graph.name, plan.launches, plan.bytes_moved, kernels)

    def kernel(self, number: int, launch: int, group: Group) -> KernelAccount:
        moved = self.plan.traffic(group)
        function, label = self.functions.get(group, ""), f"{self.inside}{number}"
        user = self.users.setdefault(function, label) if function else label
        return KernelAccount(
            number,
            launch,
            group.kind,
            group.domain,
            tuple(group.nodes),
            tuple(self.statements[node] for node in group.nodes),
            tuple(self._access(node, size) for node, size in moved.reads.items()),
            tuple(self._access(node, size) for node, size in moved.writes.items()),
            tuple(
                (self.names[node], self.names[old])
                for node in moved.writes
                for old in overwritten(self.plan, group, node)
            ),
            moved.bytes,
            sum(_flops(node) for node in (*group.nodes, *group.again)),
            tuple(dict.fromkeys(node.provenance.origin for node in group.nodes)),
            self._reasons(group),
            function,
            "" if user == label else user,
            modules_of(group.nodes),
            self.inside,
            tuple(self._bodies(group)),
            tuple(self.names[node] for node in group.again),
        )

    def _bodies(self, group: Group) -> Iterator[BodyAccount]:
        length = fixed(getattr(group.nodes[0].op, "length", ()))
        steps = length[0] if length else None
        for body in bodies_of(group, f"{self.inside}{self.numbers[group]}"):
            accounts = _Accounts(body.plan, self.functions, self.users, body.inside, body.first)
            yield BodyAccount(body.name, steps, accounts.explanation())

    def _access(self, node: Node, size: int) -> Access:
        return Access(self.names[node], size, self.places.of(node))

    def _reasons(self, group: Group) -> tuple[Apart, ...]:
        """One for each pair of a node and an operand that another kernel makes."""
        fusion = self.plan.fusion
        found: dict[Apart, None] = {}
        for node in (*group.nodes, *group.again):
            for operand in node.inputs:
                source = fusion.memory(operand, not group.fused)
                if source in group.again:
                    continue
                reason = fusion.apart.get((source, node))
                if node in group.again:
                    reason = "it is computed again here"
                maker = fusion.group_of.get(source)
                if reason is not None and maker in self.numbers and maker is not group:
                    value, user = self.names[source], self.names[node]
                    found[Apart(value, self.numbers[maker], user, reason)] = None
        return tuple(found)


def _on_host(node: Node) -> str:
    """What is to be told of an op that no kernel computes."""
    if not node.op.on_host:
        return ""
    return (
        f"on the host: {node.op.name} is a Python call between kernels (declared on "
        f"{node.op.where}); with a scalar form it would fuse"
    )


def _flops(node: Node) -> int:
    flops = flops_of_node(node)
    assert isinstance(flops, int)
    return flops
