"""A program as one C file with a header and a `main`: to read, to compile, to ship.

What is generated here is the file's head, the table of what the step reads and writes, and the
initial values. The rest is the program's own source and `kernels/gemm.h`, `kernels/library.h` and
`kernels/main.h`, without what that program does not use. All but what the header declares is
static, and no memory is written but the caller's and a state's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from staticnet import files
from staticnet.codegen.convolution import convolution_library, convolution_routines
from staticnet.codegen.interface import ENTRIES, Interface, renamed
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
    """A C file's text, its header's and, if the first values are large, the bytes beside it."""

    name: str
    text: str
    header: str
    companion: bytes | None

    def write(self, folder: Path) -> list[Path]:
        """Write `<name>.c`, `<name>.h` and perhaps `<name>.state.bin` in a folder; -> the files.

        Raises:
            OSError: if one cannot be written.
        """
        made: dict[str, bytes | str] = {f"{self.name}.c": self.text, f"{self.name}.h": self.header}
        if self.companion is not None:
            made[_companion_name(self.name)] = self.companion
        for name, content in made.items():
            files.write(folder / name, content)
        return [folder / name for name in made]


def write_standalone(
    plan: Plan, program: Program, values: Mapping[Node, Array], name: str, call: str
) -> Standalone:
    """The C file of a program, with `values` as its variables' initial ones.

    `call` is the name of its function in C, `name` that of its files.

    Values of more than 16 KiB that are not zero lie in a second file: the variables, then the
    constants, dense and in the table's order.
    """
    return _Writer(plan, program, values, name, call).standalone


def _companion_name(name: str) -> str:
    return f"{name}.state.bin"


class _Writer:
    def __init__(
        self, plan: Plan, program: Program, values: Mapping[Node, Array], name: str, call: str
    ) -> None:
        graph = plan.graph
        self.plan = plan
        self.program = program
        self.name = name
        self.arrays = [values[node] for node in graph.variables]
        self.arrays += [_constant(node) for node in plan.constants]
        self.fed = _labelled(graph.inputs, "input")
        self.variables = _labelled(graph.variables, "variable")
        self.results = _labelled(graph.outputs, "output")
        large = sum(x.nbytes for x in self.arrays if _is_set(x)) > INLINE_BYTES
        companion = b"".join(x.tobytes() for x in self.arrays) if large else None
        table = self._table(companion)
        interface = Interface(call, self.fed, self.variables, self.results, self.state_bytes)
        beside = _companion_name(name) if large else ""
        library = [kernel_text("library.h"), kernel_text("companion.h") * large, interface.source()]
        parts = [self._linked(), *self._products(), *table, *library, *self._main(beside)]
        roots = [f"sn_model{end}" for end in ("", *ENTRIES)]
        text = renamed(strip("\n".join(parts), roots), call)
        head = self._head(large)
        text = f"{head}\n{_PRAGMAS}\n{interface.declarations(beside)}\n{text}"
        header = interface.header(_header_head(graph.name, f"{name}.c"), beside)
        self.standalone = Standalone(name, text, header, companion)

    def _linked(self) -> str:
        """The program's source, with the routines in place of the pointers that wait for them."""
        source = self.program.source
        for kind, pointer, routines in self._routines():
            names, size = ", ".join(routines), f"[{len(routines)}]" * (len(routines) > 1)
            own = "static " * routines[0].startswith("sn_")
            value = f"{{{names}}}" if size else names
            waiting = re.search(rf"static {kind} \*{pointer}(\[\d+\])?;", source)
            assert waiting is not None, pointer
            linked = f"{own}{kind} {names};\nstatic {kind} *const {pointer}{size} = {value};"
            source = source.replace(waiting[0], linked)
        return source

    def _routines(self) -> Iterator[tuple[str, str, list[str]]]:
        """The type of a routine, a pointer to such or an array of them, and what it points to."""
        for dtype in self._multiplied():
            yield f"sn_gemm_{dtype}", f"sn_{dtype}_gemm", [f"sn_product_gemm_{dtype}"]
        for dtype in self.program.lapack:
            for name in LAPACK:
                yield f"sn_{name}_{dtype}", f"sn_{dtype}_{name}", [f"{_LETTER[dtype]}{name}_"]
        for way in self.program.convolutions:
            routines = [f"sn_call_{what}_{way}" for what in ("convolve", "correlate")]
            yield "sn_convolution_call", f"sn_convolutions_{way}", routines

    def _multiplied(self) -> list[str]:
        """The dtypes of the products that the step calls through pointers."""
        used = strip(self.program.source, ["sn_one_step"])
        return [dtype for dtype in ("f32", "f64") if f"sn_gemm_{dtype}" in used]

    def _products(self) -> list[str]:
        """The products and convolutions that the step calls."""
        gemm = kernel_text("gemm.h")
        texts = {"f32": gemm, "f64": _for_float64(gemm)}
        parts = [texts[dtype] for dtype in self._multiplied()]
        ways = self.program.convolutions
        parts += map(convolution_library, dict.fromkeys(way.partition("_")[2] for way in ways))
        return [*parts, *map(convolution_routines, ways)]

    def _table(self, companion: bytes | None) -> list[str]:
        """What the library needs to know: tensors with their first values, sizes, failures."""
        graph = self.plan.graph
        fed, state, constants = graph.inputs, graph.variables, self.plan.constants
        held = _labelled([*state, *constants], "constant")
        counts = {
            "INPUTS": len(fed),
            "STATE": len(state),
            "CONSTANTS": len(constants),
            "OUTPUTS": len(graph.outputs),
            "TENSORS": len(fed) + len(held) + len(graph.outputs),
        }
        end = head = _padded(8 * (counts["TENSORS"] + 1) + 16)
        data, rows = [], [_row(node) for node in fed]
        for (node, label), array in zip(held, self.arrays, strict=True):
            values, place = "NULL", 0
            if companion is None and _is_set(array):
                values = f"sn_data_{len(rows)}"
                data.append(_initialised(values, label, array))
            if len(rows) < len(fed) + len(state) or values == "NULL":
                place, end = end, end + _padded(int(node.type.nbytes))
            rows.append(_row(node, values, place))
        rows += [_row(node) for node in graph.outputs]
        self.state_bytes = end + _padded(self.plan.arena_bytes)
        counts |= {"HEAD_BYTES": head, "ARENA_PLACE": end, "COMPANION_BYTES": len(companion or b"")}
        lines = [*(f"#define SN_{key} {number}" for key, number in counts.items()), _TENSOR, *data]
        lines += ["static const sn_tensor sn_tensors[] = {", *rows, "  {0},", "};"]
        return [*lines, "static const char *const sn_sites[] = {", *self._sites(), "};"]

    def _sites(self) -> list[str]:
        failures = [f"{n.op.name}: {n.op.problem} ({n.provenance})" for n in self.program.sites]
        return [f"  {_quoted(text)}," for text in (*failures, "")]

    def _main(self, beside: str) -> list[str]:
        """The program around the library, which `-DSN_LIBRARY` leaves out."""
        graph = self.plan.graph
        lines = ["#ifndef SN_LIBRARY"]
        sizes = {"feed": _nbytes(graph.inputs), "state": _nbytes(graph.variables)}
        lines += [f"static const int64_t sn_{key}_bytes = {n};" for key, n in sizes.items()]
        feeds = ", ".join(f"{label} {node.type}" for node, label in self.fed)
        lines.append(f"static const char *const sn_feed_text = {_quoted(feeds)};")
        lines.append(f"static const char *const sn_companion = {_quoted(beside)};")
        lines += [_SHOWN, *map(_element, dict.fromkeys(node.dtype for node in graph.outputs))]
        rows = [_shown(node, label) for node, label in self.results]
        lines += ["static const sn_shown sn_shows[] = {", *rows, "  {0},", "};"]
        return [*lines, kernel_text("main.h"), "#endif"]

    def _head(self, large: bool) -> str:
        graph, memory = self.plan.graph, analyse_memory(self.plan)
        libraries = "-llapack -lblas -lm" if self.program.lapack else "-lm"
        compile_ = (
            f"cc -O3 -march=native -ffp-contract=off {self.name}.c -o {self.name} {libraries}"
        )
        run = f"./{self.name} {'FEEDS ' if graph.inputs else ''}[STEPS]"
        text = _HEAD.format(graph=graph.name, compile=compile_, run=run, header=f"{self.name}.h")
        if graph.inputs:
            text += "\nFEEDS holds for each step, row by row and in this machine's byte order:\n"
            text += _listed(self.fed)
        if graph.outputs:
            text += "\nOutputs, printed after each step and written by --outputs:\n"
            text += _listed(self.results)
        if graph.variables:
            place = f"{_companion_name(self.name)}, beside the program" if large else "this file"
            text += f"\nState, as --state writes and --load reads it; its first is in {place}:\n"
            text += _listed(self.variables)
        text += f"\nMemory: {memory.peak} bytes, {memory.arena} of them to work in.\n"
        return _comment(text)


def _header_head(graph: str, source: str) -> str:
    return _comment(
        f"One step of the graph {graph!r}, written by staticnet, to call from C or C++.\n\n"
        f"Compile {source}, whose first lines say how, with your program, which has its own main;\n"
        "with -DSN_LIBRARY also one that you do not link at once, such as a shared library's.\n"
    )


def _comment(text: str) -> str:
    lines = [f"   {line}".rstrip() for line in _plain(text).splitlines()]
    return "/*" + "\n".join(lines)[2:] + " */\n"


def _padded(size: int) -> int:
    """A size as a multiple of a cache line."""
    return -(-size // 64) * 64


_HEAD = """\
One step of the graph {graph!r}, written by staticnet.

Compile: {compile}
  -fopenmp                 on all cores; -fopenmp-simd: on one, its loops vectorised alike
  -fno-math-errno -fno-trapping-math     loops with roots and rounding vectorise too
  -fwrapv                  integers that overflow wrap, as NumPy's do
  -DSN_CBLAS -lopenblas    products by a CBLAS (or -lcblas), on one thread if with -fopenmp
  -DSN_LIBRARY             without the main, as a part of a program that includes {header}
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
/* What a step is given. `place` is where in the state it lies, 0 if elsewhere; `data` are its first
   values, NULL for zeros. */
typedef struct {
  int64_t bytes, place;
  const void *data;
} sn_tensor;
"""
_SHOWN = """
/* How an output is told. `element` is a number in it. */
typedef struct {
  const char *name, *type;
  int64_t count;
  int digits;
  long double (*element)(const void *data, int64_t i);
} sn_shown;
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


def _row(node: Node, values: str = "NULL", place: int = 0) -> str:
    return f"  {{{node.type.nbytes}, {place}, {values}}},"


def _shown(node: Node, label: str) -> str:
    numbers = f"{node.type.size}, {_DIGITS.get(node.dtype, 20)}"
    element = f"sn_element_{short_name(node.dtype)}"
    return f"  {{{_quoted(label)}, {_quoted(str(node.type))}, {numbers}, {element}}},"


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
    head = f"/* {_plain(label)} */\nstatic const {c_type(array.dtype)} {place}[{array.size}] = {{"
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
