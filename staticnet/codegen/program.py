"""The whole step as one C file: kernels, and `sn_step`, which runs them and BLAS in order.

`sn_step(slot, arena)` gets the addresses of feeds, state, constants and outputs in one table and
returns 0, or the number of a node whose index was out of range; the state is unchanged then. Where
a node runs on the host, the entry after them is the function that makes its call; the last one is
the memory of packed weights, which begins with a number that says whether to pack them anew.
`sn_run` makes many steps in one call, drawing batches of rows from data sets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, cached_property

from staticnet.codegen.convolution import ROUTINES
from staticnet.codegen.products import SLAB_WORK
from staticnet.codegen.regions import CORES, ROWS, indent, regions
from staticnet.codegen.resources import SCALARS, kernel_text
from staticnet.codegen.routines import helper
from staticnet.codegen.steps import LARGE_COPY, Parts, StepWriter
from staticnet.ir.node import Node
from staticnet.plan.fusion import Group
from staticnet.plan.plan import Place, Plan

LARGE_BODY = 1 << 16  # characters beside the prelude that two cores compile sooner than one
_ALWAYS_TOGETHER = "#define SN_TOGETHER 1"

# A product is cut into a slab for each of the machine's cores, if its work deserves it, and not for
# each thread: so the bits do not depend on their number. Rows are cut where there are enough, since
# a slab is then one piece of memory, the one that its core works on in the kernels around; else the
# longer side is. BLAS itself runs on one thread meanwhile. A copy of this at each call would take
# gcc as long as a dozen kernels, and save nothing that a product notices. `adds` is 1 to add to c,
# and 2 more if the right operand, in row-major order, is that of the product just before.
_PRODUCT = """
SN_CALLED void sn_call_gemm_{s}(int64_t share, int64_t shares, char ta, char tb, int m, int n,
                                int k, const {t} *a, int lda, const {t} *b, int ldb, {t} *c,
                                int adds) {{
  const {t} one = 1, beta = ({t})(adds & 1);
  const int64_t along_m = m >= n && n < 64 * SN_CORES, length = along_m ? m : n;
  const int64_t work = (int64_t)m * n * k;
  const int64_t wanted = SN_MIN(work / SN_SLAB_WORK, length / 32);
  const int64_t slabs = sn_clamp(wanted, 1, SN_CORES);
  for (int64_t s = slabs * share / shares; s < slabs * (share + 1) / shares; ++s) {{
    const int64_t tiles = (length + 15) / 16;
    const int64_t first = 16 * (tiles * s / slabs);
    const int64_t last = SN_MIN(16 * (tiles * (s + 1) / slabs), length);
    const int ms = along_m ? (int)(last - first) : m, ns = along_m ? n : (int)(last - first);
    const int64_t i = along_m ? first : 0, j = along_m ? 0 : first;
    if (adds & 2 || (!along_m && s > slabs * share / shares)) SN_RIGHT_AGAIN_{s}();
    sn_{s}_gemm(&ta, &tb, &ms, &ns, &k, &one, a + (ta == 'N' ? i : i * lda), &lda,
                b + (tb == 'N' ? j * ldb : j), &ldb, &beta, c + i + j * m, &m);
  }}
}}
"""

# A product with what stays, whose panels were packed: as many columns at a time as lie in the
# second cache. Threads cut it between rows where there are enough, as they do the maps around it,
# or else between panels. Without the library of products, and in an exported program, it is a plain
# one, for which they wait.
_HELD = """
#define SN_NEAR 256
typedef void sn_holder(int64_t, int64_t, int64_t, int64_t, const float *, int64_t, int64_t,
                       float *);
typedef void sn_held_product(int64_t, int64_t, int64_t, int64_t, int64_t, const float *, int64_t,
                             int64_t, const float *, float *, int);
static sn_holder *sn_hold_panels;
static sn_held_product *sn_times_held;

void sn_set_held(void *hold, void *times) {
  sn_hold_panels = (sn_holder *)hold;
  sn_times_held = (sn_held_product *)times;
}

static void sn_hold_f32(int64_t share, int64_t shares, int64_t n, int64_t k, const float *b,
                        int64_t bl, int64_t bj, float *to) {
  if (sn_hold_panels)
    sn_hold_panels(n, k, SN_CUT(n, share, 32), SN_CUT(n, share + 1, 32), b, bl, bj, to);
}

static void sn_call_held_f32(int64_t share, int64_t shares, int64_t m, int64_t n, int64_t k,
                             const float *a, int64_t ai, int64_t al, const float *b, int64_t bl,
                             int64_t bj, const float *panels, float *c, int adds) {
  if (!sn_times_held) {
#pragma omp barrier
    sn_call_gemm_f32(share, shares, bj == 1 ? 'N' : 'T', al == 1 ? 'N' : 'T', (int)n, (int)m,
                     (int)k, b, (int)(bj == 1 ? bl : bj), a, (int)(al == 1 ? ai : al), c, adds);
#pragma omp barrier
    return;
  }
  if (m >= SN_ROWS) {
    const int64_t first = SN_CUT(m, share, 1), rows = SN_CUT(m, share + 1, 1) - first;
    for (int64_t j = 0; j < n && rows; j += SN_NEAR)
      sn_times_held(rows, n, k, j, SN_MIN(j + SN_NEAR, n), a + first * ai, ai, al, panels,
                    c + first * n, adds);
    return;
  }
  const int64_t tiles = (n + 31) / 32, most = SN_MIN(tiles, SN_CORES);
  const int64_t slabs = sn_clamp(m * n * k / SN_SLAB_WORK, 1, most);
  for (int64_t s = slabs * share / shares; s < slabs * (share + 1) / shares; ++s) {
    const int64_t end = SN_MIN(32 * (tiles * (s + 1) / slabs), n);
    for (int64_t j = 32 * (tiles * s / slabs); j < end; j += SN_NEAR)
      sn_times_held(m, n, k, j, SN_MIN(j + SN_NEAR, end), a, ai, al, panels, c,
                    adds);
  }
}
"""


@dataclass
class Program:
    """A plan's C source, how many steps it runs, and the nodes that its failures are told by.

    `body` is the part of the source that is this plan's own: kernels, and the step. `lapack` are
    the dtypes, as `f64`, for which `sn_set_lapack_f64` waits for LAPACK's addresses, and
    `convolutions` the ways to convolve, as `planes_f32`, whose routines are set likewise. `head` is
    the part of the source that kernels refer to, which `pieces` begins another unit with. `texts`
    are the functions of kernels, and the statements of routines. `functions` are the names of
    kernels' functions: kernel 4's is `k4`, but that of the first kernel which equals it is taken.
    `host_calls` are the nodes whose ops are Python's, by the number that the step calls them by.
    `laps` are the first kernels of the launches in loops that a marked program times, in order.
    `choice` is empty: a step is always launched alike.
    """

    source: str
    body: str
    launches: int
    sites: list[Node] = field(default_factory=list)
    lapack: tuple[str, ...] = ()
    convolutions: tuple[str, ...] = ()
    head: str = ""
    texts: dict[Group, str] = field(default_factory=dict)
    functions: dict[Group, str] = field(default_factory=dict)
    host_calls: list[Node] = field(default_factory=list)
    laps: list[str] = field(default_factory=list)
    choice: str = ""

    @property
    def multiplies(self) -> bool:
        """Whether it calls products, whose addresses `sn_set_blas` takes."""
        return "sn_call_gemm" in self.body or self.holds

    def pieces(self) -> tuple[str, ...]:
        """The source as two units for two cores to compile, if its kernels are worth that.

        The second one has half of what is to be compiled, in kernels, which are visible to the
        first. A kernel's code does not depend on where it is called.
        """
        kernels = [match[0] for match in _KERNEL.finditer(self.body)]
        text, moved = len(self.source) - len(self.head), list[str]()
        while kernels and 2 * sum(map(len, moved)) < text:
            moved.append(kernels.pop())
        if text < LARGE_BODY or not moved:
            return ()
        first = self.source
        for kernel in moved:
            first = first.replace(kernel, f"{_shared(kernel.partition(' {')[0])};\n")
        return first, "\n".join([self.head, *map(_shared, reversed(moved))])

    def convolution_routines(self, way: str) -> list[int]:
        """The places of the routines that it calls of a way to convolve."""
        return [k for k in ROUTINES if f"sn_convolutions_{way}[{k}](" in self.body]

    @property
    def holds(self) -> bool:
        """Whether it waits for `sn_set_held`."""
        return "sn_set_held" in self.source


_KERNEL = re.compile(r"^SN_KERNEL void k\w+\(.*? {\n.*?^}\n", re.MULTILINE | re.DOTALL)


def _shared(kernel: str) -> str:
    """A kernel's definition or declaration, for another unit of the same library to call."""
    return kernel.replace("SN_KERNEL", "SN_SHARED_KERNEL", 1)


@cache
def prelude() -> str:
    """The scalar functions and helpers that every program begins with."""
    return kernel_text(*SCALARS, "runtime.h", "blocks.h")


def write_program(plan: Plan, blas: str, marked: bool = False, standalone: bool = False) -> Program:
    """The program of a plan. `blas` declares the types of BLAS' routines.

    One that is `standalone` has no more than `sn_one_step`, and no memory of the steps before.

    A `marked` one says `SN_MARK(i);` at the beginning, before and after each launch, and at the
    end, and in the graphs that loops run `SN_START;` and `SN_LAP(i);` after each launch that takes
    long enough; what that means is to be defined before it.
    """
    return _Writer(plan, blas, marked, standalone).program


class _Writer:
    def __init__(self, plan: Plan, blas: str, marked: bool, standalone: bool) -> None:
        self.plan = plan
        self.standalone = standalone
        self.parts = parts = Parts(marked)
        steps = StepWriter(plan, parts, self._slot)
        steps.write()
        body = self._body(regions(steps.launches))
        self.program = Program(
            self._file(blas, body),
            body,
            len(plan.steps),
            parts.sites,
            self._libraries("lapack"),
            self._libraries("convolution"),
            "\n".join([prelude(), *self.defines, kernel_text("openmp.h")]),
            parts.texts,
            parts.called,
            parts.host_calls,
            parts.laps,
        )

    def _slot(self, place: Place) -> str:
        return f"slot[{self._starts[place.kind] + place.at}]"

    @cached_property
    def _starts(self) -> dict[str, int]:
        """Where in the table the addresses of each kind begin."""
        graph = self.plan.graph
        starts = {"feed": 0, "state": len(graph.inputs)}
        starts["constant"] = starts["state"] + len(graph.variables)
        starts["output"] = starts["constant"] + len(self.plan.constants)
        starts["host"] = starts["output"] + len(graph.outputs)
        starts["weights"] = starts["host"] + 1
        return starts

    def _libraries(self, kind: str) -> tuple[str, ...]:
        """What is needed of a kind of libraries: dtypes, or ways and dtypes."""
        needs = (need.partition(" ") for need in self.parts.helpers)
        return tuple(name for each, _, name in needs if each == kind and name)

    def _file(self, blas: str, body: str) -> str:
        multiplies = "sn_call_gemm" in body or "sn_call_held" in body
        uses_blas = multiplies or bool(self._libraries("lapack"))
        ordered = sorted(self.parts.helpers, key=lambda need: need.startswith("attention "))
        helpers = [helper(need) for need in ordered]  # attention is after the parts that it has
        shares = uses_blas or bool(self._libraries("convolution"))
        numbers = {
            "SLAB_WORK": SLAB_WORK,
            "CORES": CORES,
            "ROWS": ROWS,
            "USES_BLAS": int(uses_blas),
            "USES_THREADS": int(shares or any("omp parallel" in text for text in (body, *helpers))),
            "PARALLEL_COPY": LARGE_COPY,
            "FIRST_OUTPUT": self._starts["output"],
        }
        self.defines = [f"#define SN_{name} {n}" for name, n in numbers.items()]
        parts = [prelude(), blas, *self.defines]
        parts.append(kernel_text("openmp.h"))
        parts.append(_ALWAYS_TOGETHER if self.standalone else kernel_text("threads.h"))
        parts.append(kernel_text("blas.h"))
        parts += [_PRODUCT.format(s=s, t=t) for s, t in (("f32", "float"), ("f64", "double"))]
        parts += [_HELD] if "sn_call_held" in body else []
        parts += [*helpers, body]
        parts += [] if self.standalone else [kernel_text("run.h")]
        return "\n".join(parts) + "\n"

    def _body(self, lines: list[str]) -> str:
        """The kernels, the graphs that ops hold, and the step that calls them."""
        parts = [f"// {told}\n{text}" for told, text in self.parts.definitions()]
        parts.append("static int sn_one_step(void **slot, char *arena) {")
        parts.append("  volatile int failed = 0, *const error = &failed;")
        return "\n".join([*parts, *indent(lines), "  return failed;", "}"])
