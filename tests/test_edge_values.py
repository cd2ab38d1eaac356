"""Special points: every device agrees, and other libraries differ only where it is said."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from edge_differences import DIFFERENCES, Difference
from edge_engines import (
    Results,
    disagree,
    dynamically,
    function_of,
    in_jax,
    in_torch,
    on_device,
    split,
)
from edges import CASES, POINTS, Case

import staticnet as sn
from staticnet.compilation import PIPELINE
from staticnet.ir.dtype import DTYPES, is_integer
from staticnet.ir.op import OPS
from staticnet.ops.arguments import FLOATS
from staticnet.ops.base import Elementwise
from staticnet.passes.manager import run_passes

COMPILES = True
PAGE = Path(__file__).parents[1] / "docs" / "numerics.md"
LIBRARIES = {"N": "NumPy", "T": "PyTorch", "J": "JAX"}
LOOSE = {"float16": 1e-2, "float32": 3e-5, "float64": 1e-10}
EITHER_ZERO = {"maximum", "minimum", "max", "min"}
by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_points = pytest.mark.parametrize("points", POINTS)


def of_points(points: str) -> list[Case]:
    return [case for case in CASES if case.points == points]


@cache
def reference(points: str, dtype: str = "float32") -> dict[str, Results]:
    cases = of_points(points)
    found = on_device(cases, dtype, "numpy")
    return {case.name: results for case, results in zip(cases, found, strict=True)}


def check(case: Case, got: Results, dtype: str = "float32") -> None:
    """That a device gives what the reference does, signs of zeros included."""
    wanted = reference(case.points, dtype)[case.name]
    for (order, a), (_, b) in zip(got, wanted, strict=False):
        bad = disagree(a, b, order, case.name not in EITHER_ZERO, LOOSE[dtype])
        points = [x[bad] for x in POINTS[case.points](dtype)]
        assert not bad.any(), f"{case.name}, derivative {order}, at {points}: {a[bad]} not {b[bad]}"


@by_name
def test_dynamic(case: Case) -> None:
    check(case, dynamically(case, "float32"))


@by_points
def test_values_on_the_cpu(points: str) -> None:
    cases = of_points(points)
    for case, got in zip(cases, on_device(cases, "float32", "cpu", depth=0), strict=True):
        check(case, got)


@pytest.mark.slow
@by_points
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_on_the_cpu(points: str, dtype: str) -> None:
    cases = of_points(points)
    for case, got in zip(cases, on_device(cases, dtype, "cpu"), strict=True):
        check(case, got, dtype)


@pytest.mark.slow
@by_points
@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
def test_generated_cuda(points: str, tmp_path: Path) -> None:
    cases = of_points(points)
    f, feeds, orders = function_of(cases, "float32", 1, "numpy")
    graph = run_passes(f.graph, PIPELINE, numerics="exact")[0]
    failed, outputs, _ = Machine(graph, tmp_path).run(feeds, [])
    assert failed == 0
    for case, got in zip(cases, split(orders, outputs), strict=True):
        check(case, got)


# --- other libraries ---------------------------------------------------------------------------


def _flushed(case: Case, a: Any, b: Any) -> Any:
    """Where JAX, which takes subnormal numbers for 0 on a CPU, had one."""
    tiny = np.finfo("float32").tiny
    near = [(np.abs(x) <= 2 * tiny) & (x != 0) for x in POINTS[case.points]("float32")]
    both = (np.abs(a) <= tiny) & (np.abs(b) <= tiny) if a.dtype.kind == "f" else a == b
    rows = [x.any(1) if x.ndim == 2 else x for x in near]
    return np.any([*rows, both.all(1) if both.ndim == 2 else both], 0)


def compare(case: Case, library: str, theirs: Results) -> None:
    """Each difference is one that is known, and each known one is there."""
    arguments = POINTS[case.points]("float32")
    known = [d for d in DIFFERENCES.get(case.name, []) if library in d.libraries]
    seen: set[Difference] = set()
    for (order, a), (_, b) in zip(reference(case.points)[case.name], theirs, strict=False):
        with np.errstate(all="ignore"):
            masks = {d: d.at(*arguments) for d in known if str(order) in d.orders}
        bad = disagree(a, np.asarray(b), order, False, LOOSE["float32"])
        if library == "J":
            bad &= ~_flushed(case, a, b)
        seen |= {d for d, mask in masks.items() if (bad & mask).any()}
        left = bad & ~np.any([*masks.values(), np.zeros_like(bad)], 0)
        points = [x[left] for x in arguments]
        assert not left.any(), f"{case.name}, derivative {order}, {points}: {a[left]}, {b[left]}"
    assert {d.where for d in known} == {d.where for d in seen}, f"{case.name}: no longer there"


@pytest.mark.parametrize("case", [c for c in CASES if c.numpy], ids=lambda case: case.name)
def test_against_numpy(case: Case) -> None:
    assert case.numpy is not None
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degrees of freedom
        compare(case, "N", [(0, np.asarray(case.numpy(*POINTS[case.points]("float32"))))])


@by_name
def test_against_pytorch(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degrees of freedom
        compare(case, "T", in_torch(torch, case, "float32"))


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in CASES if c.jax], ids=lambda case: case.name)
def test_against_jax(case: Case) -> None:
    jax = pytest.importorskip("jax", reason="JAX is the oracle")
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(case, "J", in_jax(jax, case, "float32"))


# --- integers ----------------------------------------------------------------------------------

INTEGERS = [name for name, dtype in DTYPES.items() if is_integer(dtype)]
UNARY = ["negative", "abs", "sign", "ceil", "floor", "trunc", "round", "square", "bitwise_invert"]
BINARY = [
    *["add", "subtract", "multiply", "floor_divide", "remainder", "maximum", "minimum"],
    *["bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift"],
    *["equal", "less"],
]
NUMPY = {
    "bitwise_invert": "invert",
    "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
}


def _pairs(dtype: str) -> tuple[Any, Any]:
    """All pairs of small numbers, the ends of the range, and numbers around the width."""
    info = np.iinfo(dtype)
    found = {0, 1, 2, 3, 7, info.bits - 1, info.bits, info.bits + 1, info.max, info.max - 1}
    if info.min:
        found |= {-1, -2, -3, -7, -info.bits, info.min, info.min + 1}
    x = np.array(sorted(found), dtype)
    return np.repeat(x, x.size), np.tile(x, x.size)


def _calls(x: Any, y: Any, of: Callable[[str], Any]) -> list[Any]:
    return [*(of(name)(x) for name in UNARY), *(of(name)(x, y) for name in BINARY)]


def _of_numpy(name: str) -> Any:
    if name in ("ceil", "floor", "trunc", "round"):
        return lambda x: x
    return getattr(np, NUMPY.get(name, name))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap_and_divide_as_in_numpy(dtype: str) -> None:
    """Also shifts beyond the width, the least number divided by -1, and division by 0."""
    x, y = _pairs(dtype)
    with np.errstate(all="ignore"):
        wanted = _calls(x, y, _of_numpy)
    nodes = [sn.placeholder(x.shape, dtype, name) for name in "xy"]
    made = _calls(*nodes, lambda name: getattr(sn, name))
    results = [sn.function(nodes, made, device=device)(x, y) for device in ("numpy", "cpu")]
    tensors = _calls(sn.dynamic.tensor(x), sn.dynamic.tensor(y), lambda name: getattr(sn, name))
    for found in (*results, [np.asarray(z.data) for z in tensors]):
        for name, got, right in zip([*UNARY, *BINARY], found, wanted, strict=True):
            np.testing.assert_array_equal(got, right, err_msg=name)


# --- the page ----------------------------------------------------------------------------------


def _table() -> str:
    lines = ["| points | what |", "|---|---|"]
    lines += [f"| {name} | {f.__doc__} |" for name, f in POINTS.items()]
    lines += [
        "",
        "| function | points | differs from | in | at | because |",
        "|---|---|---|---|---|---|",
    ]
    words = {"0": "value", "1": "1st derivative", "2": "2nd derivative"}
    for case in CASES:
        for d in DIFFERENCES.get(case.name, []):
            libraries = ", ".join(LIBRARIES[initial] for initial in d.libraries)
            orders = ", ".join(words[order] for order in d.orders)
            name = f"`{case.name}`"
            lines.append(
                f"| {name} | {case.points} | {libraries} | {orders} | {d.where} | {d.why} |"
            )
    same = [f"`{case.name}`" for case in CASES if case.name not in DIFFERENCES]
    return "\n".join([*lines, "", f"No difference was found of {', '.join(same)}."])


def test_the_page_has_the_table(request: pytest.FixtureRequest) -> None:
    pattern = re.compile(r"(?<=<!-- the sweep -->\n).*(?=\n<!-- end -->)", re.DOTALL)
    text = PAGE.read_text(encoding="utf-8")
    if request.config.getoption("--update-golden"):
        text = pattern.sub(lambda _: _table(), text)
        PAGE.write_text(text, encoding="utf-8")
    assert pattern.findall(text) == [_table()], (
        "run pytest --update-golden and review docs/numerics.md"
    )


def test_every_elementwise_op_of_floats_has_a_case() -> None:
    """But for those that test_special_points.py or tests of their own have."""
    others = {"cast", "where", "stop_gradient", "nextafter", "polygamma", "fma"}
    others |= {"normalize_channels", "float8", "float8_scale"}
    ops = {
        name
        for name, op in OPS.items()
        if issubclass(op, Elementwise) and op.kinds & FLOATS and not op.gives_bool
    }
    assert ops - others - {case.name for case in CASES} == set()


def test_differences_are_of_cases() -> None:
    assert set(DIFFERENCES) <= {case.name for case in CASES}
