"""A step exported as one C program against the step itself: losses, state, and bad input."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import (
    BATCH,
    PLAIN,
    build,
    check,
    embedding,
    library,
    mlp,
    same,
    start,
    write_feeds,
)
from samples import SAMPLES

import staticnet as sn
from staticnet.codegen.lapack import LAPACK
from staticnet.errors import ArgumentError, DTypeError, StateError
from staticnet.ir.dtype import as_dtype

COMPILES = True
SHIPPED = True
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on this machine")
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def refused(program: Path, *arguments: Any) -> str:
    """What a program says that must fail."""
    done = start(program, *arguments)
    assert done.returncode in (1, 2), (done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1 or done.returncode == 2
    return done.stderr


@pytest.mark.parametrize("make", [mlp, embedding])
@pytest.mark.parametrize("openmp", ["", "-fopenmp"])
def test_a_program_trains_as_the_step_does(make: Any, openmp: str, tmp_path: Path) -> None:
    step, feeds = make()
    files = step.export_c(tmp_path / "step.c", b=BATCH)
    assert files == [tmp_path / "step.c", tmp_path / "step.h"]
    program = build(files[0], *PLAIN, *filter(None, [openmp]))
    check(program, step, feeds, OMP_NUM_THREADS="2")


def test_large_products_and_a_state_in_a_second_file(tmp_path: Path) -> None:
    step, feeds = mlp(700)
    files = step.export_c(tmp_path / "wide.c", b=BATCH)
    assert [file.name for file in files] == ["wide.c", "wide.h", "wide.state.bin"]
    assert "sn_product_gemm_f32" in files[0].read_text(encoding="utf-8")
    for flags in (PLAIN, ("-O1",), (*PLAIN, "-fopenmp")):
        check(build(files[0], *flags), step, feeds)
    files[2].write_bytes(files[2].read_bytes()[:-1])
    assert "wide.state.bin holds fewer than the" in refused(
        tmp_path / "wide", tmp_path / "wide.feeds"
    )
    files[2].unlink()
    assert "cannot open" in refused(tmp_path / "wide", tmp_path / "wide.feeds")


def test_the_cpu_backend_agrees_too(tmp_path: Path) -> None:
    step, feeds = mlp(64, "cpu")
    source, *_ = step.export_c(tmp_path / "step.c", b=BATCH)
    check(build(source), step, feeds)


@pytest.mark.parametrize("make", [mlp, embedding, lambda: mlp(200)])
def test_no_undefined_behaviour(make: Any, tmp_path: Path) -> None:
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = ["cc", *SANITIZED, str(probe), "-o", str(tmp_path / "probe")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cc has no sanitizers")
    step, feeds = make()
    source, *_ = step.export_c(tmp_path / "step.c", b=BATCH)
    check(build(source, *SANITIZED), step, feeds)


def test_products_by_cblas(tmp_path: Path) -> None:
    flags = library(["cblas_sgemm", "cblas_dgemm"], "cblas", "openblas")
    if flags is None:
        pytest.skip("no CBLAS can be linked with")
    step, feeds = mlp(300)
    source, *_ = step.export_c(tmp_path / "step.c", b=BATCH)
    program = build(source, *PLAIN, "-DSN_CBLAS", *flags)
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    assert "cblas_sgemm" in symbols
    check(program, step, feeds, OPENBLAS_NUM_THREADS="1")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loops_multiply_all_layouts(dtype: str, tmp_path: Path) -> None:
    """Sizes around the tiles' and blocks' edges, each operand plain and transposed."""
    rng = np.random.default_rng(2)
    inputs, outputs, feeds = [], [], []
    for i, (m, n, k) in enumerate([(1, 70, 100), (33, 47, 600), (130, 6, 257), (16, 24, 32)]):
        for j, (left, right) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            shapes = ((k, m) if left else (m, k), (n, k) if right else (k, n))
            a, b = (
                sn.placeholder(s, dtype, f"{c}{i}{j}") for s, c in zip(shapes, "ab", strict=True)
            )
            inputs += [a, b]
            outputs.append((a.T if left else a) @ (b.T if right else b))
            feeds += [rng.normal(size=s).astype(dtype) for s in shapes]
    f = sn.function(inputs, outputs, device="numpy")
    source, *_ = f.export_c(tmp_path / "f.c")
    file, out = write_feeds(tmp_path / "feeds", [tuple(feeds)]), tmp_path / "out"
    done = start(build(source), file, "--outputs", out)
    assert done.returncode == 0, done.stderr
    assert "output0 f" in done.stdout
    assert " mean " in done.stdout
    data = np.frombuffer(out.read_bytes(), dtype)
    for wanted in f(*feeds):
        same(data[: wanted.size].reshape(wanted.shape), wanted, {"float32": 1e-5}.get(dtype, 1e-13))
        data = data[wanted.size :]
    assert data.size == 0


def test_all_dtypes_and_constants_are_told_to_the_bit(tmp_path: Path) -> None:
    values = {
        "bool": [True, False], "int8": [-128, 127], "uint8": [0, 255], "int16": [-32768, 5],
        "uint16": [65535, 1], "int32": [-(2**31), 7], "uint32": [2**32 - 1, 0],
        "int64": [-(2**63), 2**63 - 1], "uint64": [2**64 - 1, 1], "float16": [6e-8, -65504],
        "bfloat16": [-1e-40, 3e38], "float32": [1e-45, -np.inf], "float64": [0.1, np.nan],
    }  # fmt: skip
    state = [sn.variable(np.array(v, as_dtype(d)), f"v.{d}") for d, v in values.items()]
    scalars = [sn.reshape(v[:1], ()) for v in state]
    constant = sn.constant(np.arange(40, dtype=np.float32) / 7)
    f = sn.function([], [*scalars, constant + 1], updates={v: v for v in state}, device="numpy")
    source, *_ = f.export_c(tmp_path / "f.c")
    out, last = tmp_path / "out", tmp_path / "last"
    done = start(build(source), "--outputs", out, "--state", last)
    assert done.returncode == 0, done.stderr
    wanted = f()
    assert out.read_bytes() == b"".join(x.tobytes() for x in wanted)
    shown = done.stdout.strip().removeprefix("step 1: ").split(", ")
    for text, x in zip(shown[:-1], wanted[:-1], strict=True):
        number = text.split()[1]
        assert x.dtype.type(int(number) if x.dtype.kind in "iu" else float(number)) == x
    held = f.graph.variables
    assert last.read_bytes() == b"".join(v.value.tobytes() for v in held)  # type: ignore[attr-defined]


def test_convolutions_are_exported_beside_products_and_reductions(tmp_path: Path) -> None:
    inputs, results = [], []
    for dtype in ("float32", "float64"):
        x, w = sn.placeholder((2, 3, 8, 8), dtype), sn.placeholder((6, 3, 3, 3), dtype)
        many = sn.placeholder((64, 3, 3, 3), dtype)
        inputs += [x, w, many]
        y = sn.max(sn.nn.functional.conv2d(x, w), axis=(2, 3))
        near = sn.sum(sn.nn.functional.conv2d(x, many, stride=2) ** 2)
        results += [near, *sn.grad(near, [many])]
        results.append(sn.max(sn.nn.functional.conv2d(x, w, stride=2)))
        results.append(sn.max(y @ y.T))
    step = sn.function(inputs, results, device="numpy")
    file = tmp_path / "convolutions.c"
    step.export_c(file)
    build(file, "-O1", "-ffp-contract=off")


def test_every_op_is_exported(tmp_path: Path) -> None:
    inputs, outputs, feeds = [], [], []
    for n, sample in enumerate(SAMPLES):
        for dtype in ("float32", "int32"):
            xs = [
                sn.placeholder(a.shape, dtype, f"x{n}_{dtype}_{i}")
                for i, a in enumerate(sample.args)
            ]
            try:
                outputs.append(sample.build(*xs))
            except DTypeError:
                continue
            inputs += xs
            feeds += [np.asarray(a).astype(dtype) for a in sample.args]
    f = sn.function(inputs, outputs, device="numpy")
    source, *_ = f.export_c(tmp_path / "all.c")
    flags = library(
        [f"{letter}{name}_" for letter in "sd" for name in LAPACK], "lapack", "openblas"
    )
    assert flags is not None
    file, out = write_feeds(tmp_path / "feeds", [tuple(feeds)]), tmp_path / "out"
    program = build(source, "-O1", "-fwrapv", *flags)
    done = start(program, file, "--outputs", out, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    data = out.read_bytes()
    for wanted in f(*feeds):
        got = np.frombuffer(data[: wanted.nbytes], wanted.dtype).reshape(wanted.shape)
        same(got, wanted, 2e-6)
        data = data[wanted.nbytes :]
    assert not data


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums a vector of floats and counts its steps; a bad index fails a step."""
    x, i = sn.placeholder((3,), name="x"), sn.placeholder((), "int64", "i")
    n = sn.variable(np.int64(0), "n")
    f = sn.function([x, i], [sn.sum(x), sn.take(x, i), n], updates={n: n + 1}, device="numpy")
    folder = tmp_path_factory.mktemp("program")
    return build(f.export_c(folder / "count.c")[0])


def count_feeds(file: Path, *indices: int) -> Path:
    return write_feeds(file, [(np.full(3, i + 1, "f"), np.int64(i)) for i in indices])


def test_feeds_are_used_again_and_a_state_goes_on(program: Path, tmp_path: Path) -> None:
    feeds, state = count_feeds(tmp_path / "feeds", 0, 1), tmp_path / "state"
    done = start(program, feeds, 5, "--state", state)
    assert [line.split()[3] for line in done.stdout.splitlines()] == ["3,", "6,", "3,", "6,", "3,"]
    assert np.frombuffer(state.read_bytes(), np.int64) == 5
    assert len(start(program, feeds, 1).stdout.splitlines()) == 1
    done = start(program, feeds, "--load", state, "--state", state)
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["5", "6"]
    assert np.frombuffer(state.read_bytes(), np.int64) == 7


def test_bad_feeds_are_refused_before_the_first_step(program: Path, tmp_path: Path) -> None:
    feeds = count_feeds(tmp_path / "feeds", 0, 1)
    short = tmp_path / "short"
    short.write_bytes(feeds.read_bytes()[:-3])
    said = refused(program, short)
    assert "short holds 37 bytes: expected a multiple of 20" in said
    assert "x f32[3], i i64[]" in said
    short.write_bytes(b"")
    assert "holds 0 bytes" in refused(program, short)
    assert "cannot open" in refused(program, tmp_path / "none")
    assert "none" in refused(program, tmp_path / "none")
    assert "directory" in refused(program, tmp_path)


def test_feeds_may_come_from_a_pipe(program: Path, tmp_path: Path) -> None:
    data = count_feeds(tmp_path / "feeds", 0, 1).read_bytes()
    pipe = [str(program), "/dev/stdin"]
    for given, status, lines in ((data, 0, 2), (data[:30], 1, 1), (b"", 1, 0)):
        done = subprocess.run(pipe, input=given, capture_output=True, check=False)
        assert (done.returncode, done.stdout.count(b"\n")) == (status, lines), done.stderr
        assert status == 0 or b"of the 20 bytes expected" in done.stderr


def test_a_bad_index_names_its_step_and_line(program: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = start(program, count_feeds(tmp_path / "feeds", 2, -3, 3, 0), "--state", state)
    assert done.returncode == 1
    assert done.stdout.count("\n") == 2
    assert "step 3: take: an index is out of range" in done.stderr
    assert "test_export.py:" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("a", "1", "2"), ("--bogus",), ("a", "--state")])
def test_a_wrong_command_line_shows_the_usage(program: Path, arguments: tuple[str, ...]) -> None:
    done = start(program, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: {program} FEEDS [STEPS]")
    assert start(program, "--help").returncode == 0


def test_bad_numbers_and_files_are_told(program: Path, tmp_path: Path) -> None:
    feeds = count_feeds(tmp_path / "feeds", 0)
    for steps in ("0", "-1", "2x", "99999999999999999999"):
        assert f"STEPS is {steps}" in refused(program, feeds, steps)
    for size, word in ((7, "fewer"), (9, "more")):
        (tmp_path / "state").write_bytes(bytes(size))
        said = refused(program, feeds, "--load", tmp_path / "state")
        assert f"holds {word} than the 8 bytes expected" in said
    for option in ("--state", "--outputs"):
        assert "cannot open" in refused(program, feeds, option, tmp_path / "no" / "file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told(program: Path, tmp_path: Path) -> None:
    feeds = count_feeds(tmp_path / "feeds", 0)
    for option in ("--state", "--outputs"):
        assert "cannot write /dev/full" in refused(program, feeds, option, "/dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([program, feeds], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert b"cannot write the standard output" in done.stderr


def test_too_little_memory_is_told(tmp_path: Path) -> None:
    x = sn.placeholder((1 << 40,), name="x")
    source, *_ = sn.function(x, sn.sum(x), device="numpy").export_c(tmp_path / "big.c")
    (tmp_path / "feeds").write_bytes(b"")
    command = f"ulimit -v 4000000; exec {build(source)} {tmp_path / 'feeds'}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no memory for 4398046511104 bytes" in done.stderr


def test_names_and_paths_cannot_break_the_source(tmp_path: Path) -> None:
    w = sn.variable(np.ones(2, np.float32), 'a */ " \\ %s ??/ é')
    f = sn.function([], w * 2, updates={w: w + 1}, device="numpy")
    done = start(build(f.export_c(tmp_path / "f.c")[0]), 2)
    assert done.returncode == 0, done.stderr
    assert "mean 4" in done.stdout.splitlines()[1]


def test_what_is_not_used_is_not_there(tmp_path: Path) -> None:
    x = sn.placeholder((64, 64), name="x")
    source, *_ = sn.function(x, sn.tanh(x), device="numpy").export_c(tmp_path / "f.c")
    text = source.read_text(encoding="utf-8")
    assert "sn_tanh_f32(sn_f32 x) {" in text
    for absent in ("sn_erf", "_f64(", "gemm", "philox", "i16", "__CUDACC__", "sn_run("):
        assert absent not in text, absent


def test_the_path_and_the_dims_are_checked(tmp_path: Path) -> None:
    step, _ = mlp()
    with pytest.raises(ArgumentError, match=r"must end in \.c"):
        step.export_c(tmp_path / "step", b=3)
    with pytest.raises(ArgumentError, match="its symbolic dims are"):
        step.export_c(tmp_path / "step.c")
    with pytest.raises(OSError, match="none"):
        step.export_c(tmp_path / "none" / "step.c", b=3)
    graph = sn.parse(
        "graph f() {\n  %w: f32[2] = variable(id=99001, dtype=f32, shape=[2])\n  return %w\n}"
    )
    with pytest.raises(StateError, match="has no value yet"):
        sn.function([], graph.outputs, device="numpy").export_c(tmp_path / "step.c")
