"""Exported programs to compile and compare: the steps, their feeds, and the comparison."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn

PLAIN = ("-O3", "-march=native", "-ffp-contract=off")
STRICT = ("-Wall", "-Wextra", "-Werror")
BATCH, STEPS = 48, 20

Feeds = list[tuple[Any, ...]]


def build(source: Path, *flags: str) -> Path:
    """Compile an exported file without a warning."""
    program = source.with_suffix("")
    command = ["cc", "-std=c11", *(flags or PLAIN), *STRICT, str(source), "-o", str(program), "-lm"]
    command += [flag for flag in flags if flag.startswith("-l") or flag.endswith(".so")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def library(symbols: Sequence[str], *names: str) -> tuple[str, ...] | None:
    """The flags that link a library with these functions: the system's, or the one of SciPy."""
    import scipy

    folder = Path(scipy.__file__).parent.parent / "scipy.libs"
    bundled = [str(file) for file in folder.glob("libscipy_openblas*.so")]
    renamed = [f"-D{symbol}=scipy_{symbol}" for symbol in symbols]
    for flags in ([f"-l{name}"] for name in names), [[*renamed, f"-Wl,-rpath,{folder}", *bundled]]:
        for given in flags:
            code = f"void {symbols[0]}(void); int main(void) {{ {symbols[0]}(); return 0; }}"
            command = ["cc", "-x", "c", "-", "-o", os.devnull, "-x", "none", *given]
            done = subprocess.run(command, input=code, text=True, capture_output=True, check=False)
            if done.returncode == 0:
                return tuple(given)
    return None


def start(program: Path, *arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )


def write_feeds(file: Path, feeds: Feeds) -> Path:
    """The layout that the exported file's head describes."""
    file.write_bytes(b"".join(array.tobytes() for step in feeds for array in step))
    return file


def losses(text: str) -> list[float]:
    lines = text.splitlines()
    assert [line.split()[:2] for line in lines] == [["step", f"{i}:"] for i in range(1, STEPS + 1)]
    return [float(line.split()[-1]) for line in lines]


def read_state(file: Path, variables: Sequence[Any]) -> list[Any]:
    data, at, arrays = file.read_bytes(), 0, []
    for v in variables:
        size = v.value.nbytes
        arrays.append(np.frombuffer(data[at : at + size], v.dtype).reshape(v.shape))
        at += size
    assert at == len(data)
    return arrays


def same(got: Any, wanted: Any, rtol: float = 1e-5) -> None:
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted)
    else:
        scale = np.max(np.abs(wanted), initial=1e-30, where=np.isfinite(wanted))
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol * scale)


def mlp(width: int = 24, device: str = "numpy") -> tuple[sn.Function, Feeds]:
    """An Adam step with dropout; from 64 wide on its products are calls of a library."""
    sn.manual_seed(0)
    x, y = sn.placeholder(("b", 20), name="x"), sn.placeholder(("b",), "int64", "y")
    layers = [sn.nn.Linear(20, width), sn.nn.GELU(), sn.nn.Dropout(0.2), sn.nn.Linear(width, 5)]
    loss = sn.nn.cross_entropy(sn.nn.Sequential(*layers)(x), y)
    updates = sn.optim.Adam(lr=0.01).minimize(loss)
    rng = np.random.default_rng(0)
    points = [rng.normal(size=(BATCH, 20)).astype("f") for _ in range(STEPS)]
    feeds: Feeds = [(p, p[:, :5].argmax(1)) for p in points]
    return sn.function([x, y], loss, updates=updates, device=device), feeds


def embedding() -> tuple[sn.Function, Feeds]:
    """Rows of a table, whose gradient is scattered, under a sigmoid and float64 in between."""
    rng = np.random.default_rng(1)
    words = sn.placeholder(("b", 6), "int32", "words")
    target = sn.placeholder(("b", 8), name="target")
    table = sn.variable(rng.normal(size=(50, 8)).astype("f"), "table")
    mean = sn.mean(sn.take(table, words, axis=0), axis=1)
    wide = sn.astype(sn.sigmoid(mean), "float64") - sn.astype(target, "float64")
    loss = sn.mean(wide * wide)
    updates = sn.optim.SGD(lr=5.0, momentum=0.9).minimize(loss)
    feeds: Feeds = [
        (
            rng.integers(-50, 50, (BATCH, 6)).astype(np.int32),
            rng.uniform(size=(BATCH, 8)).astype("f"),
        )
        for _ in range(STEPS)
    ]
    return sn.function([words, target], loss, updates=updates, device="numpy"), feeds


def check(program: Path, step: sn.Function, feeds: Feeds, **environment: str) -> None:
    """The program's losses and last state are those of the step from the same first state."""
    file = write_feeds(program.with_suffix(".feeds"), feeds)
    state = program.with_suffix(".last")
    done = start(program, file, "--state", state, **environment)
    assert done.returncode == 0, done.stderr
    first = [v.value for v in step.graph.variables]
    wanted = np.array([step(*feed) for feed in feeds])
    np.testing.assert_allclose(losses(done.stdout), wanted, rtol=1e-5)
    assert wanted[-1] < wanted[0]
    for v, old, got in zip(
        step.graph.variables, first, read_state(state, step.graph.variables), strict=True
    ):
        same(got, v.value)
        assert not np.array_equal(got, old)
        v.value = old
