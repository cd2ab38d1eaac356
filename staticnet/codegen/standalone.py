"""A program as one C file with a `main`: to read, to compile with a plain `cc`, to ship.

What is generated here is the file's head, the table of what the step reads and writes, and the
initial values. The rest is the program's own source and `kernels/gemm.h` and `kernels/main.h`,
without what that program does not use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from staticnet.codegen.convolution import convolution_library, convolution_routines
from staticnet.codegen.lapack import LAPACK
from staticnet.codegen.program import Program
from staticnet.codegen.resources import kernel_text
from staticnet.codegen.scope import c_type, literal
from staticnet.codegen.strip import strip
from staticnet.ir.dtype import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    HALVES,
    DType,
    as_dtype,
    short_name,
)
from staticnet.ir.node import Node
from staticnet.ops.base import Constant
from staticnet.plan.analysis import analyse_memory
from staticnet.plan.plan import Plan

INLINE_BYTES = 1 << 14  # of initial values that are not zero; more of them lie in a second file
_DIGITS = {BFLOAT16: 4, FLOAT16: 5, FLOAT32: 9, FLOAT64: 17}  # that tell any two values apart
_LETTER = {"f32": "s", "f64": "d"}  # LAPACK's
_WIDTH = 100

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Standalone:
    """A C file's text and, if the initial values are large, the bytes of the file beside it."""

    name: str
    text: str
    companion: bytes | None

    def write(self, folder: Path) -> list[Path]:
        """Write `<name>.c` and, if there is one, `<name>.state.bin` in a folder; -> the files.

        Raises:
            OSError: if one cannot be written.
        """
        files = [folder / f"{self.name}.c"]
        files[0].write_text(self.text, encoding="utf-8")
        if self.companion is not None:
            files.append(folder / _companion_name(self.name))
            files[1].write_bytes(self.companion)
        return files


def write_standalone(
    plan: Plan, program: Program, values: Mapping[Node, Array], name: str
) -> Standalone:
    """The C file of a program, with `values` as its variables' initial ones.

    Values of more than 16 KiB that are not zero lie in a second file: the variables, then the
    constants, dense and in the table's order.
    """
    return _Writer(plan, program, values, name).standalone


def _companion_name(name: str) -> str:
    return f"{name}.state.bin"


class _Writer:
    def __init__(
        self, plan: Plan, program: Program, values: Mapping[Node, Array], name: str
    ) -> None:
        graph = plan.graph
        self.plan = plan
        self.program = program
        self.name = name
        self.arrays = [values[node] for node in graph.variables]
        self.arrays += [_constant(node) for node in plan.constants]
        large = sum(x.nbytes for x in self.arrays if _is_set(x)) > INLINE_BYTES
        companion = b"".join(x.tobytes() for x in self.arrays) if large else None
        parts = [self.program.source, *self._products(), *self._table(companion)]
        parts.append(kernel_text("main.h"))
        text = strip("\n".join(parts), ["main"])
        self.standalone = Standalone(name, f"{self._head(large)}\n{_PRAGMAS}\n{text}", companion)

    def _products(self) -> list[str]:
        """The products that the step calls through pointers, and `sn_bind`, which sets those."""
        used = strip(self.program.source, ["sn_step"])
        gemm = kernel_text("gemm.h")
        names, parts = ["NULL", "NULL"], []
        if "sn_gemm_f32" in used:
            names[0] = "(void *)sn_product_gemm_f32"
            parts.append(gemm)
        if "sn_gemm_f64" in used:
            names[1] = "(void *)sn_product_gemm_f64"
            parts.append(_for_float64(gemm))
        calls = [f"sn_set_blas({', '.join(names)}, NULL, NULL);"] if parts else []
        for dtype in self.program.lapack:
            routines = [f"{_LETTER[dtype]}{name}_" for name in LAPACK]
            parts += [f"void {routine}(void);" for routine in routines]
            table = ", ".join(f"(void *){routine}" for routine in routines)
            parts.append(f"static void *const sn_lapack_{dtype}[] = {{{table}}};")
            calls.append(f"sn_set_lapack_{dtype}(sn_lapack_{dtype});")
        ways = self.program.convolutions
        parts += map(convolution_library, dict.fromkeys(way.partition("_")[2] for way in ways))
        for way in ways:
            parts.append(convolution_routines(way))
            calls.append(f"sn_set_convolutions_{way}((void *const *)sn_routines_{way});")
        return [*parts, f"static void sn_bind(void) {{ {' '.join(calls)} }}"]

    def _table(self, companion: bytes | None) -> list[str]:
        graph = self.plan.graph
        fed, state, constants = graph.inputs, graph.variables, self.plan.constants
        data, rows = [], [_row(node, label) for node, label in _labelled(fed, "input")]
        held = _labelled([*state, *constants], "constant")
        for (node, label), array in zip(held, self.arrays, strict=True):
            place = "NULL"
            if companion is None and _is_set(array):
                place = f"sn_data_{len(rows)}"
                data.append(_initialised(place, label, array))
            rows.append(_row(node, label, place))
        outputs = _labelled(graph.outputs, "output")
        rows += [_row(node, label, shown=True) for node, label in outputs]
        counts = {"INPUTS": fed, "STATE": state, "CONSTANTS": constants, "OUTPUTS": outputs}
        sizes = {
            "feed": _nbytes(fed),
            "state": _nbytes(state),
            "companion": len(companion or b""),
            "arena": self.plan.arena_bytes,
        }
        lines = [*(f"#define SN_{key} {len(nodes)}" for key, nodes in counts.items())]
        lines.append(f"#define SN_TENSORS {len(rows)}")
        lines += [f"static const int64_t sn_{key}_bytes = {n};" for key, n in sizes.items()]
        feeds = ", ".join(f"{label} {node.type}" for node, label in _labelled(fed, "input"))
        lines.append(f"static const char *const sn_feed_text = {_quoted(feeds)};")
        beside = "" if companion is None else _companion_name(self.name)
        lines.append(f"static const char *const sn_companion = {_quoted(beside)};")
        dtypes = dict.fromkeys(node.dtype for node in graph.outputs)
        lines += [_TENSOR, *map(_element, dtypes), *data]
        lines += ["static sn_tensor sn_tensors[] = {", *rows, "  {0},", "};"]
        return [*lines, "static const char *const sn_sites[] = {", *self._sites(), "};"]

    def _sites(self) -> list[str]:
        failures = [f"{n.op.name}: {n.op.problem} ({n.provenance})" for n in self.program.sites]
        return [f"  {_quoted(text)}," for text in (*failures, "")]

    def _head(self, large: bool) -> str:
        graph, memory = self.plan.graph, analyse_memory(self.plan)
        libraries = "-llapack -lblas -lm" if self.program.lapack else "-lm"
        compile_ = (
            f"cc -O3 -march=native -ffp-contract=off {self.name}.c -o {self.name} {libraries}"
        )
        run = f"./{self.name} {'FEEDS ' if graph.inputs else ''}[STEPS]"
        text = _HEAD.format(graph=graph.name, compile=compile_, run=run)
        if graph.inputs:
            text += "\nFEEDS holds for each step, row by row and in this machine's byte order:\n"
            text += _listed(_labelled(graph.inputs, "input"))
        if graph.outputs:
            text += "\nOutputs, printed after each step and written by --outputs:\n"
            text += _listed(_labelled(graph.outputs, "output"))
        if graph.variables:
            place = f"{_companion_name(self.name)}, beside the program" if large else "this file"
            text += f"\nState, as --state writes and --load reads it; its first is in {place}:\n"
            text += _listed(_labelled(graph.variables, "variable"))
        text += f"\nMemory: {memory.peak} bytes, {memory.arena} of them to work in.\n"
        lines = [f"   {line}".rstrip() for line in _plain(text).splitlines()]
        return "/*" + "\n".join(lines)[2:] + " */"


_HEAD = """\
One step of the graph {graph!r}, written by staticnet.

Compile: {compile}
  -fopenmp                 on all cores; -fopenmp-simd: on one, its loops vectorised alike
  -fno-math-errno -fno-trapping-math     loops with roots and rounding vectorise too
  -fwrapv                  integers that overflow wrap, as NumPy's do
  -DSN_CBLAS -lopenblas    products by a CBLAS (or -lcblas), on one thread if with -fopenmp
  Never -ffast-math: NaN and infinity must travel.
Run: {run} [--load IN] [--state OUT] [--outputs OUT]
"""
_PRAGMAS = """\
#pragma GCC diagnostic ignored "-Wunknown-pragmas"      /* OpenMP's, where it is off */
#pragma GCC diagnostic ignored "-Wunused-parameter"     /* all kernels have the same last two */
#pragma GCC diagnostic ignored "-Wunused-variable"      /* where nothing can fail, `error` is one */
#pragma GCC diagnostic ignored "-Wtautological-compare" /* an integer is never NaN */
"""
_TENSOR = """
/* Memory that a step is given. `element` is a number in it; `data` is NULL for zeros. */
typedef struct {
  const char *name, *type;
  int64_t count, bytes;
  int digits;
  long double (*element)(const void *data, int64_t i);
  void *data;
} sn_tensor;
"""


def _labelled(nodes: Sequence[Node], what: str) -> list[tuple[Node, str]]:
    """Nodes with their names or, where they have none, what they are and their number."""
    alone = len(nodes) == 1
    return [(node, node.name or (what if alone else f"{what}{i}")) for i, node in enumerate(nodes)]


def _nbytes(nodes: Sequence[Node]) -> int:
    return sum(int(node.type.nbytes) for node in nodes)


def _constant(node: Node) -> Array:
    assert isinstance(node.op, Constant)
    return node.op.value.array


def _is_set(array: Array) -> bool:
    """Whether memory that is all 0 would not do."""
    return any(array.tobytes())


def _for_float64(text: str) -> str:
    for old, new in (("f32", "f64"), ("F32", "F64"), ("float", "double"), ("sgemm", "dgemm")):
        text = text.replace(old, new)
    return text


def _row(node: Node, label: str, data: str = "NULL", shown: bool = False) -> str:
    element = f"sn_element_{short_name(node.dtype)}" if shown else "NULL"
    numbers = f"{node.type.size}, {node.type.nbytes}, {_DIGITS.get(node.dtype, 20)}"
    return f"  {{{_quoted(label)}, {_quoted(str(node.type))}, {numbers}, {element}, {data}}},"


def _element(dtype: DType) -> str:
    """The function that reads a number of a dtype, for printing."""
    read = f"((const {c_type(dtype)} *)data)[i]"
    if dtype in HALVES:
        read = f"sn_load_{short_name(dtype)}({read})"
    head = f"static long double sn_element_{short_name(dtype)}(const void *data, int64_t i)"
    return f"{head} {{ return {read}; }}"


def _initialised(place: str, label: str, array: Array) -> str:
    """An array with its values, to the bit; 16-bit floats are their bits."""
    shown = array.view(as_dtype("uint16")) if array.dtype in HALVES else array
    lines, line = [], " "
    for value in shown.reshape(-1):
        text = f" {_value(value, shown.dtype)},"
        if len(line) + len(text) > _WIDTH:
            lines.append(line)
            line = " "
        line += text
    head = f"/* {_plain(label)} */\nstatic {c_type(array.dtype)} {place}[{array.size}] = {{"
    return "\n".join([head, *lines, line, "};"])


def _value(value: Any, dtype: DType) -> str:
    text = literal(value, dtype)
    return text[1:-1] if text.startswith("(") else text


def _listed(nodes: Sequence[tuple[Node, str]]) -> str:
    rows = [(label, str(n.type), f"{n.type.nbytes} bytes", str(n.provenance)) for n, label in nodes]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    cells = [[cell.ljust(w) for cell, w in zip(row, widths, strict=False)] for row in rows]
    return "".join(f"  {'  '.join(c)}  {row[3]}\n" for c, row in zip(cells, rows, strict=True))


def _plain(text: str) -> str:
    """A text that may stand in a C comment."""
    text = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    return text.replace("*/", "* /").replace("/*", "/ *")


def _quoted(text: str) -> str:
    """A C string."""
    plain = {ord(char): f"\\{char}" for char in '\\"?'}
    return '"' + "".join(_escaped(char, plain) for char in text) + '"'


def _escaped(char: str, plain: Mapping[int, str]) -> str:
    if char.isprintable():
        return char.translate(plain)
    return "".join(f"\\{byte:03o}" for byte in char.encode(errors="surrogateescape"))
