"""The whole step as one C file: kernels, and `sn_step`, which runs them and BLAS in order.

`sn_step(slot, arena)` gets the addresses of feeds, state, constants and outputs in one table and
returns 0, or the number of a node whose index was out of range; the state is unchanged then. Where
a node runs on the host, the table's last entry is the function that makes its call.
`sn_run` makes many steps in one call, drawing batches of rows from data sets.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cache

from staticnet.codegen import c
from staticnet.codegen.build import Builder
from staticnet.codegen.kernel import Kernel
from staticnet.codegen.resources import SCALARS, kernel_text
from staticnet.codegen.routines import helper, needs, routine
from staticnet.codegen.scope import c_type
from staticnet.ir.node import Node
from staticnet.plan.fusion import Group
from staticnet.plan.partials import scratch_bytes
from staticnet.plan.plan import Plan
from staticnet.plan.schedule import Step
from staticnet.plan.text import space

PARALLEL_WORK = 1 << 17  # of `Kernel.work`, below which one thread is faster than two
STREAM_BYTES = 32 << 20  # of a kernel's buffers, beyond which results do not stay in the caches
PARALLEL_COPY = 1 << 18  # bytes of a batch, beyond which threads share the copying of its rows
SLAB_WORK = 1 << 19  # multiply-adds of a slab of a product

# A product is cut into a slab for each of the machine's cores, if its work deserves it, and not for
# each thread: so the bits do not depend on their number. Rows are cut where there are enough, since
# a slab is then one piece of memory, the one that its core works on in the kernels around; else the
# longer side is. BLAS itself runs on one thread meanwhile.
_PRODUCT = """
static inline void sn_call_gemm_{s}(char ta, char tb, int m, int n, int k, const {t} *a, int lda,
                                   const {t} *b, int ldb, {t} *c) {{
  const {t} one = 1, zero = 0;
  const int64_t along_m = m >= n && n < 64 * SN_CORES, length = along_m ? m : n;
  const int64_t work = (int64_t)m * n * k;
  const int64_t wanted = SN_MIN(work / SN_SLAB_WORK, length / 32);
  const int64_t slabs = sn_clamp(wanted, 1, SN_CORES);
#pragma omp parallel for schedule(static) if (slabs > 1 && SN_TOGETHER)
  for (int64_t s = 0; s < slabs; ++s) {{
    const int64_t tiles = (length + 15) / 16;
    const int64_t first = 16 * (tiles * s / slabs);
    const int64_t last = SN_MIN(16 * (tiles * (s + 1) / slabs), length);
    const int ms = along_m ? (int)(last - first) : m, ns = along_m ? n : (int)(last - first);
    const int64_t i = along_m ? first : 0, j = along_m ? 0 : first;
    sn_{s}_gemm(&ta, &tb, &ms, &ns, &k, &one, a + (ta == 'N' ? i : i * lda), &lda,
                b + (tb == 'N' ? j * ldb : j), &ldb, &zero, c + i + j * m, &m);
  }}
}}
"""


@dataclass
class Program:
    """A plan's C source, how many steps it runs, and the nodes that its failures are told by.

    `body` is the part of the source that is this plan's own: kernels, and the step. `texts` are
    the functions of kernels, and the statements of routines. `functions` are the names of kernels'
    functions: kernel 4's is `k4`, but that of the first kernel which equals it is taken.
    `host_calls` are the nodes whose ops are Python's, by the number that the step calls them by.
    """

    source: str
    body: str
    launches: int
    sites: list[Node] = field(default_factory=list)
    texts: dict[Group, str] = field(default_factory=dict)
    functions: dict[Group, str] = field(default_factory=dict)
    host_calls: list[Node] = field(default_factory=list)


@cache
def prelude() -> str:
    """The scalar functions and helpers that every program begins with."""
    return kernel_text(*SCALARS, "runtime.h", "blocks.h")


def write_program(plan: Plan, blas: str, marked: bool = False) -> Program:
    """The program of a plan. `blas` declares the types of BLAS' routines.

    A `marked` one says `SN_MARK(i);` at the beginning, before and after each launch, and at the
    end; what that means is to be defined before it.
    """
    return _Writer(plan, blas, marked).program


class _Writer:
    def __init__(self, plan: Plan, blas: str, marked: bool) -> None:
        self.plan = plan
        self.marked = marked
        self.numbers = plan.numbers
        self.functions: dict[str, str] = {}
        self.called: dict[Group, str] = {}
        self.helpers: dict[str, None] = {}
        self.lines: list[str] = []
        self.sites: list[Node] = []
        self.texts: dict[Group, str] = {}
        self.host_calls: list[Node] = []
        self._write_step()
        body = self._body()
        self.program = Program(
            self._file(blas, body),
            body,
            len(plan.steps),
            self.sites,
            self.texts,
            self.called,
            self.host_calls,
        )

    def _pointer(self, node: Node) -> str:
        """The address of a node's memory, typed."""
        holder = self.plan.holder(node)
        assert holder is not None, node
        place = self.plan.places[holder]
        if place.kind == "arena":
            return f"(({c_type(node.dtype)} *)(arena + {place.at}))"
        return f"(({c_type(node.dtype)} *)slot[{self._slot(place.kind, place.at)}])"

    def _slot(self, kind: str, at: int) -> int:
        graph = self.plan.graph
        starts = {"feed": 0, "state": len(graph.inputs)}
        starts["constant"] = starts["state"] + len(graph.variables)
        starts["output"] = starts["constant"] + len(self.plan.constants)
        starts["host"] = starts["output"] + len(graph.outputs)
        return starts[kind] + at

    def _write_step(self) -> None:
        self._mark(0)
        for node, output in self.plan.first_copies:
            self._copy(f"slot[{self._slot('output', output)}]", node)
        for node, block in self.plan.saved.items():
            self._copy(f"arena + {block.offset}", node)
        self._mark(1)
        for i, step in enumerate(self.plan.steps):
            if i == self.plan.guard:
                self.lines.append("if (failed) return failed;")
            if step.fused:
                self._kernels(step)
            else:
                self._routine(step.groups[0])
            self._mark(i + 2)
        if self.plan.last_copies:
            self.lines.append("if (failed) return failed;")
        for node, place in self.plan.last_copies:
            target = f"slot[{self._slot(place.kind, place.at)}]"
            if node in self.plan.saved:
                block = self.plan.saved[node]
                self.lines.append(f"memcpy({target}, arena + {block.offset}, {node.type.nbytes});")
            else:
                self._copy(target, node)
        self._mark(len(self.plan.steps) + 2)

    def _mark(self, number: int) -> None:
        if self.marked:
            self.lines.append(f"SN_MARK({number});")

    def _copy(self, target: str, node: Node) -> None:
        self.lines.append(f"memcpy({target}, {self._pointer(node)}, {node.type.nbytes});")

    def _routine(self, group: Group) -> None:
        (node,) = group.nodes
        need = needs(node)
        if need:
            self.helpers[need] = None
        if node.op.on_host:
            lines = self._host_call(node)
        else:
            lines = routine(node, self._pointer, self.plan.places.__contains__)
        self.texts[group] = "\n".join(lines)
        told = f"kernel {self.numbers[group]}, {node.op.name} {node.type}: {node.provenance}"
        self.lines.append(f"{{ // {told}")
        if any("site" in line for line in lines):
            self.lines.append(f"  const int site = {self._site(group)};")
        self.lines += [*(f"  {line}" for line in lines), "}"]

    def _host_call(self, node: Node) -> list[str]:
        """A call of Python; nothing is updated if it fails, or something before it did."""
        pointers = ", ".join(f"(void *){self._pointer(x)}" for x in (*node.inputs, node))
        self.host_calls.append(node)
        function = f"((int (*)(int64_t, void **))slot[{self._slot('host', 0)}])"
        return [
            "if (failed) return failed;",
            f"void *at[] = {{{pointers}}};",
            f"if ({function}({len(self.host_calls) - 1}, at)) return site;",
        ]

    def _site(self, group: Group) -> int:
        """What tells a failure in a group: the number of its failing node, from 1; 0 if none."""
        failing = [node for node in group.nodes if node.op.may_fail]
        if not failing:
            return 0
        self.sites.append(failing[0])
        return len(self.sites)

    def _kernels(self, step: Step) -> None:
        """The calls of a step's kernels; threads share each kernel's outer space."""
        calls, work, shared, scratch = [], 0, False, self.plan.scratch
        for group in step.groups:
            builder = Builder(group, self.plan.stored)
            kernel = builder.build()
            if kernel.empty:
                continue
            pointers = [self._pointer(node) for node in builder.buffers]
            kernel = replace(kernel, streams=self._streams(kernel, builder.buffers, pointers))
            body = c.function(kernel, "NAME")
            name = self.functions.setdefault(body, f"k{self.numbers[group]}")
            self.called[group] = name
            self.texts[group] = body.replace("NAME", name, 1)
            if kernel.blocks:
                pointers.append(f"arena + {scratch}")
                scratch += scratch_bytes(group)
            calls.append(self._call(group, name, pointers))
            work += kernel.work
            shared |= kernel.shared
        if work >= PARALLEL_WORK and shared:
            self.lines += ["#pragma omp parallel if (SN_TOGETHER)", "{", "  SN_THREAD"]
        else:
            self.lines += ["{", "  SN_ALONE"]
        self.lines += [*(f"  {call}" for call in calls), "}"]

    def _streams(self, kernel: Kernel, buffers: list[Node], pointers: list[str]) -> frozenset[str]:
        """The results of a large kernel that it does not read: they go around the caches."""
        if kernel.tiled or sum(int(node.type.nbytes) for node in buffers) < STREAM_BYTES:
            return frozenset()
        read = {at for p, at in zip(kernel.parameters, pointers, strict=True) if not p.written}
        return frozenset(
            p.name
            for p, at in zip(kernel.parameters, pointers, strict=True)
            if p.written and at not in read
        )

    def _call(self, group: Group, name: str, pointers: list[str]) -> str:
        lines = list(dict.fromkeys(str(node.provenance) for node in group.nodes))
        note = f" // kernel {self.numbers[group]}, {space(group)}: {'; '.join(lines[:3])}"
        return f"{name}(share, shares, {', '.join(pointers)}, error, {self._site(group)});{note}"

    def _file(self, blas: str, body: str) -> str:
        uses_blas = "sn_call_gemm" in body
        numbers = {
            "SLAB_WORK": SLAB_WORK,
            "CORES": os.cpu_count() or 1,
            "USES_BLAS": int(uses_blas),
            "USES_THREADS": int(uses_blas or "#pragma omp parallel" in body),
            "PARALLEL_COPY": PARALLEL_COPY,
            "FIRST_OUTPUT": self._slot("output", 0),
        }
        parts = [prelude(), blas, *(f"#define SN_{name} {n}" for name, n in numbers.items())]
        parts.append(kernel_text("threads.h"))
        parts += [_PRODUCT.format(s=s, t=t) for s, t in (("f32", "float"), ("f64", "double"))]
        parts += [*(helper(need) for need in self.helpers), body, kernel_text("run.h")]
        return "\n".join(parts) + "\n"

    def _told(self, groups: list[Group]) -> str:
        """`kernels 4, 6: map [16,20]`: those that run one function."""
        numbers = ", ".join(str(self.numbers[group]) for group in groups)
        return f"kernel{'s' * (len(groups) > 1)} {numbers}: {space(groups[0])}"

    def _body(self) -> str:
        """The kernels and the step that calls them."""
        users: dict[str, list[Group]] = {}
        for group, name in self.called.items():
            users.setdefault(name, []).append(group)
        parts = [
            f"// {self._told(users[name])}\n{text.replace('NAME', name, 1)}"
            for text, name in self.functions.items()
        ]
        parts.append("static int sn_one_step(void **slot, char *arena) {")
        parts.append("  volatile int failed = 0, *const error = &failed;")
        parts += [line if line.startswith("#") else f"  {line}" for line in self.lines]
        return "\n".join([*parts, "  return failed;", "}"])
