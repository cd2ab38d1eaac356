"""Teams of threads: which launches they make together, and where they wait for each other.

What they wait for is looked at by ThreadSanitizer, on exported programs whose barriers it follows.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import write_feeds

import staticnet as sn
import staticnet.codegen.products
import staticnet.codegen.program
import staticnet.codegen.regions
from staticnet import codegen
from staticnet.codegen.regions import BARRIER, Launch, Span, Way, barriers, regions

HERE = Path(__file__).parent
SANITIZER = ["cc", "-std=c11", "-O0", "-g", "-w", "-D_GNU_SOURCE", "-fsanitize=thread"]


def launch(
    reads: str = "", writes: str = "", cut: str = "", way: Way = Way.SHARED, together: bool = True
) -> Launch:
    """One that reads and writes places of one letter each."""
    spans = [[Span(letter, 0, 0, 8, cut) for letter in each] for each in (reads, writes)]
    return Launch([f"{writes}({reads});"], way, together, *spans)


@pytest.mark.parametrize(
    ("launches", "waits"),
    [
        ([launch("a", "b"), launch("b", "c")], {1}),
        ([launch("a", "b"), launch("c", "a")], {1}),
        ([launch("a", "b"), launch("c", "b")], {1}),
        ([launch("a", "b"), launch("a", "c")], set()),
        ([launch("a", "b"), launch("a", "c"), launch("b", "d"), launch("c", "e")], {2}),
        ([launch("a", "b", "rows"), launch("b", "c", "rows")], set()),
        ([launch("a", "b", "rows"), launch("b", "c", "columns")], {1}),
    ],
)
def test_threads_wait_where_another_may_not_be_done(
    launches: list[Launch], waits: set[int]
) -> None:
    assert barriers(launches) == waits


def test_a_step_of_a_loop_waits_for_the_one_before() -> None:
    steps = [launch("a", "b"), launch("c", "d"), launch("b", "e")]
    assert barriers(steps) == {2}
    assert barriers(steps, again=True) == {0, 2}
    assert barriers([launch("a", "b"), launch("b", "a")], again=True) == {0, 1}
    assert barriers([launch("a", "b", "rows"), launch("b", "a", "rows")], again=True) == set()


def test_parts_of_memory_that_do_not_meet() -> None:
    first, second = Span("arena", 0, 0, 64), Span("arena", 0, 64, 128)
    assert not first.meets(second)
    assert first.meets(Span("arena", 0, 63, 65))
    assert not first.meets(Span("output", 0, 0, 64))
    assert not Span("arena", 0, 0, 64, "x").meets(Span("arena", 0, 0, 64, "x"))
    assert Span("arena", 0, 0, 64, "x").meets(Span("arena", 0, 0, 32, "x"))


def test_threads_are_gathered_once_for_what_follows_and_not_for_small_ends() -> None:
    small = launch("a", "b", together=False)
    first = launch("x", "y", way=Way.FIRST, together=False)
    text = regions([small, launch("b", "c"), first, launch("c", "d"), small])
    assert sum(line.startswith("#pragma omp parallel") for line in text) == 1
    begin, end = text.index("  SN_THREAD"), len(text) - 1 - text[::-1].index("  SN_ALONE")
    assert text.index("  SN_ALONE") < begin < end
    assert text[begin:end].count("  if (share == 0) {") == 1
    apart = regions([launch("a", "b"), Launch(["own();"]), launch("b", "c")])
    assert sum(line.startswith("#pragma omp parallel") for line in apart) == 2


def lstm(length: int, batch: int, units: int, layers: int = 1) -> tuple[sn.Function, list[Any]]:
    """A training step of stacked LSTMs, and its feeds."""
    sn.manual_seed(0)
    model = sn.nn.LSTM(units, units, layers)
    x = sn.placeholder((length, batch, units), name=f"rows{length}_{batch}_{units}")
    states, _ = model(x)
    loss = sn.mean(states * states)
    step = sn.optim.Adam(1e-3).minimize(loss, model.parameters())
    function = sn.function([x], loss, updates=step, device="cpu")
    return function, [np.random.default_rng(0).normal(size=x.shape).astype(np.float32)]


def test_rows_of_a_recurrent_net_do_not_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on two cores; the weights' gradients are made behind the loops."""
    for module in (codegen.regions, codegen.products, codegen.program):
        monkeypatch.setattr(module, "ROWS", 24)
    source = lstm(4, 128, 128)[0].source()
    bodies = re.findall(r"static void body\d+\(int64_t share.*?\n}", source, re.DOTALL)
    assert len(bodies) == 2
    assert not any(BARRIER in body for body in bodies)


def mlp() -> tuple[sn.Function, list[Any]]:
    sn.manual_seed(0)
    model = sn.nn.Sequential(sn.nn.Linear(64, 256), sn.nn.Tanh(), sn.nn.Linear(256, 64))
    x = sn.placeholder((96, 64), name="rows_of_mlp")
    loss = sn.mean(sn.nn.softmax(model(x), axis=1) ** 2) + sn.mean(sn.var(x, axis=0))
    step = sn.optim.SGD(0.1, momentum=0.9).minimize(loss, model.parameters())
    function = sn.function([x], loss, updates=step, device="cpu")
    return function, [np.random.default_rng(0).normal(size=x.shape).astype(np.float32)]


def stacks() -> tuple[sn.Function, list[Any]]:
    """Products of stacks, small and less small, one after the other, and parts of rows joined."""
    x = sn.placeholder((24, 48, 48), name="stacked")
    y = sn.tanh(x @ sn.matrix_transpose(x))
    z = sn.concat([y[:, :, 16:], sn.exp(-y)[:, :, :16]], axis=2) @ y
    function = sn.function([x], [sn.sum(z, axis=0), sn.roll(z, 1, axis=0)], device="cpu")
    return function, [np.random.default_rng(0).normal(size=x.shape).astype(np.float32)]


def carried_sums() -> tuple[sn.Function, list[Any]]:
    """A loop whose step reads another row than its own, sums all of them, and carries a scalar."""
    x = sn.placeholder((5, 64, 512), name="carried")

    def body(carry: Any, row: Any) -> Any:
        total, state = carry
        state = sn.tanh(sn.roll(state, 1, axis=0) + row * total)
        return (total + sn.mean(state), state), sn.sum(state, axis=0)

    last, sums = sn.scan(body, (np.float32(0.5), np.zeros((64, 512), np.float32)), x)
    function = sn.function([x], [*last, sums], device="cpu")
    return function, [np.random.default_rng(0).normal(size=x.shape).astype(np.float32)]


def sums_of_products() -> tuple[sn.Function, list[Any]]:
    """Products that are added to each other, where they lie and, once, to a copy."""
    x = sn.placeholder((3, 64, 128), name="of_products")

    def body(c: Any, row: Any) -> Any:
        near = (row @ c.mT) @ row * 0.01
        far = c @ (c.mT @ row) * 0.01
        return sn.tanh(near + far @ (row.mT @ c)), near

    last, ys = sn.scan(body, np.full((64, 128), 0.1, np.float32), x)
    loss = sn.mean(last * last) + sn.mean(ys)
    function = sn.function([x], [loss, *sn.grad(loss, [x])], device="cpu")
    return function, [np.random.default_rng(0).normal(size=x.shape).astype(np.float32)]


def sums(rows: Any, inner: Any) -> sn.Function:
    """A loop that adds two small products of sizes that are known late, beside what is large."""
    sizes = f"{rows}_{inner}"
    x = sn.placeholder((rows, inner), name=f"x_{sizes}")
    a, b = (sn.placeholder((inner, 16), name=f"{name}_{sizes}") for name in "ab")
    large = sn.placeholder((3, 256, 1024), name=f"large_{sizes}")

    def body(state: Any, row: Any) -> Any:
        state = sn.tanh(state * 0.5 + row)
        y = x * state[0, 0]
        return state, sn.tanh(y @ a + (y * 2) @ b)

    _, ys = sn.scan(body, np.zeros((256, 1024), np.float32), large)
    return sn.function([x, a, b, large], ys, device="cpu")


def fed(rows: int, inner: int) -> list[Any]:
    rng = np.random.default_rng(0)
    shapes = ((rows, inner), (inner, 16), (inner, 16), (3, 256, 1024))
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("inner", [0, 3])
def test_sums_of_small_products_and_of_none(inner: int, set_threads: Callable[[int], None]) -> None:
    function, feeds = sums(8, sn.Dim("inner")), fed(8, inner)
    set_threads(2)
    x, a, b, large = feeds
    state, wanted = np.zeros_like(large[0]), []
    for row in large:
        state = np.tanh(state * 0.5 + row)
        wanted.append(np.tanh(state[0, 0] * (x @ a + 2 * (x @ b))))
    for _ in range(3):
        np.testing.assert_allclose(function(*feeds), wanted, rtol=1e-4, atol=1e-5)


def test_stacks_of_products_over_nothing() -> None:
    a, b = sn.placeholder((3, 5, 0), name="no_columns"), sn.placeholder((3, 0, 8), name="no_rows")
    y = a @ b
    function = sn.function([a, b], [y, *sn.grad(sn.sum(y), [a])], device="cpu")
    y, g = function(np.zeros((3, 5, 0), "f"), np.zeros((3, 0, 8), "f"))
    assert not y.any()
    assert (y.shape, g.shape) == ((3, 5, 8), (3, 5, 0))


PROGRAMS: dict[str, Callable[[], tuple[sn.Function, list[Any]]]] = {
    "lstm": lambda: lstm(4, 50, 128),
    "two layers": lambda: lstm(3, 26, 96, 2),
    "few rows": lambda: lstm(3, 20, 192),
    "mlp": mlp,
    "stacks": stacks,
    "carried sums": carried_sums,
    "sums of products": sums_of_products,
}


def raced(folder: Path, source: str, feeds: list[Any], team: int) -> str:
    """What ThreadSanitizer says of a run of a program."""
    (folder / "program.c").write_text(source, encoding="utf-8")
    holds = ["-DHOLDS"] if "sn_set_held" in source else []
    for flags, file in ((["-fopenmp", "-DSN_CBLAS"], "program.c"), (holds, str(HERE / "traced.c"))):
        subprocess.run([*SANITIZER, *flags, "-c", file], cwd=folder, check=True)
    link = ["cc", "-fsanitize=thread", "program.o", "traced.o", "-o", "program", "-lpthread", "-lm"]
    subprocess.run(link, cwd=folder, check=True)
    given = write_feeds(folder / "feeds", [tuple(feeds)])
    done = subprocess.run(
        ["./program", str(given), "1"],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"TEAM": str(team), "TSAN_OPTIONS": "halt_on_error=1"},
    )  # fmt: skip
    assert done.returncode == 0 or "ThreadSanitizer" in done.stderr, done.stderr
    return done.stderr


def sanitizes() -> bool:
    """Whether this machine compiles for ThreadSanitizer."""
    command = [*SANITIZER, "-x", "c", "-", "-o", os.devnull]
    try:
        done = subprocess.run(
            command,
            input="int main(void) { return 0; }",
            text=True,
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("team", [2, 3])
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_two_threads_meet_in_memory(name: str, team: int, tmp_path: Path) -> None:
    if not sanitizes():
        pytest.skip("no compiler here that knows ThreadSanitizer")
    function, feeds = PROGRAMS[name]()
    source, *_ = function.export_c(tmp_path / "program.c")
    text = source.read_text(encoding="utf-8")
    assert "omp parallel" in text
    assert "ThreadSanitizer" not in raced(tmp_path, text, feeds, team)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_where_they_do_not_wait_they_meet(name: str, tmp_path: Path) -> None:
    if not sanitizes():
        pytest.skip("no compiler here that knows ThreadSanitizer")
    function, feeds = PROGRAMS[name]()
    source, *_ = function.export_c(tmp_path / "program.c")
    text = source.read_text(encoding="utf-8").replace(BARRIER, "")
    assert "data race" in raced(tmp_path, text, feeds, 2)
