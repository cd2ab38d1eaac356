"""The C toolchain: finding a compiler, a cache that can be trusted, loading, and BLAS from C."""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import importlib.util
import itertools
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import flags
from staticnet.backends import cache
from staticnet.backends.cache import Cache
from staticnet.backends.cpu import blas, compiler, executable, library
from staticnet.backends.cpu.compiler import Compiler, find_compiler
from staticnet.codegen import program
from staticnet.errors import ArgumentError, CompileError, FlagError

SHIPPED = True

SOURCE = "int answer(void) { return 42; }\n"
KEY = "ab" + "0" * 62
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX owners and modes")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; what earlier tests loaded and decided is forgotten."""
    chosen = tmp_path / "cache"
    monkeypatch.setenv("STATICNET_CACHE", str(chosen))
    monkeypatch.setattr(library, "_loaded", {})
    return chosen


@pytest.fixture(scope="session")
def _compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATICNET_CACHE", str(tmp_path_factory.mktemp("probe") / "cache"))
        return find_compiler()


@pytest.fixture
def cc(_compiler: Compiler | None) -> Compiler:
    if _compiler is None:
        pytest.skip("no C compiler on this machine")
    return _compiler


@pytest.fixture
def counted(cc: Compiler, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were really compiled."""
    sources: list[str] = []
    real = Compiler.compile

    def compile_(self: Compiler, source: str, output: Path, pieces: Sequence[str] = ()) -> None:
        sources.append(source)
        real(self, source, output, pieces)

    monkeypatch.setattr(Compiler, "compile", compile_)
    return sources


def objects(folder: Path, suffix: str = ".so") -> list[Path]:
    return sorted(folder.glob(f"??/*{suffix}"))


def write(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


def never(path: Path) -> None:
    raise AssertionError(f"built {path} again")


def reload_(cc: Compiler, source: str = SOURCE) -> ctypes.CDLL:
    """Load as a new process would."""
    library._loaded.clear()
    return library.load(source, cc)


# --- flags


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert flags.read().cache == tmp_path / "cache"
    monkeypatch.delenv("STATICNET_CACHE")
    assert flags.read().cache == tmp_path / "xdg" / "staticnet"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert flags.read().cache == tmp_path / "home" / ".cache" / "staticnet"


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("STATICNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert flags.read().cache is None
    assert cache.open_cache() == cache.private()


def test_cc_that_is_no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc 'half")
    with pytest.raises(FlagError, match='CC="gcc \'half" is no command line'):
        flags.read()


# --- compiler


def test_flags_let_nan_and_inf_travel(cc: Compiler) -> None:
    assert not {"-ffast-math", "-Ofast", "-ffinite-math-only"} & set(cc.flags)
    assert {"-O3", "-std=c11", "-fPIC", "-shared", "-ffp-contract=off"} <= set(cc.flags)
    assert cc.openmp == ("-fopenmp" in cc.flags)
    lib = library.load("int odd(double x) { return x != x || x - x != 0; }", cc)
    lib.odd.argtypes = (ctypes.c_double,)
    assert [lib.odd(x) for x in (float("nan"), float("inf"), -float("inf"), 1.0)] == [1, 1, 1, 0]


def test_openmp_runs_where_it_is_said_to(cc: Compiler) -> None:
    if not cc.openmp:
        pytest.skip(f"{cc.command[0]} has no OpenMP")
    lib = library.load(
        "int sum(int n) { int s = 0;\n#pragma omp parallel for reduction(+ : s) num_threads(1)\n"
        "for (int i = 0; i < n; i++) s += i; return s; }",
        cc,
    )
    assert lib.sum(100) == 4950


def test_identity_tells_apart_all_that_changes_the_code(cc: Compiler) -> None:
    same = Compiler(cc.command, cc.version, cc.flags, cc.openmp)
    assert same.identity() == cc.identity()
    others = (
        Compiler((*cc.command, "-m64"), cc.version, cc.flags, cc.openmp),
        Compiler(cc.command, cc.version + "1", cc.flags, cc.openmp),
        Compiler(cc.command, cc.version, (*cc.flags, "-g"), cc.openmp),
    )
    assert len({cc.identity(), *(other.identity() for other in others)}) == 4
    assert compiler.cpu() in cc.identity()


def test_what_is_written_by_hand_needs_few_of_gccs_passes(cc: Compiler) -> None:
    gcc = dataclasses.replace(cc, version="gcc 12.2.0", flags=(*compiler.COMMON, "-fopenmp"))
    assert "-O3" not in gcc.by_hand().flags
    assert {*gcc.flags} - {"-O3"} < {*gcc.by_hand().flags}
    clang = dataclasses.replace(gcc, version="Debian clang version 14.0.6")
    assert clang.by_hand() == clang


def test_probes_are_kept_on_disk(cc: Compiler, folder: Path, counted: list[str]) -> None:
    assert compiler._probe(cc.command) == cc
    assert counted
    assert len(objects(folder, ".json")) == 1
    counted.clear()
    assert compiler._probe(cc.command) == cc
    assert not counted


def test_cc_with_arguments(cc: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", shlex.join((*cc.command, "-DANSWER=7")))
    found = find_compiler()
    assert found is not None
    assert found.command == (*cc.command, "-DANSWER=7")
    assert library.load("int answer(void) { return ANSWER; }", found).answer() == 7


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no-such-cc -O2", "there is no command 'no-such-cc'"),
        (shlex.join((sys.executable, "-c", "pass")), "python"),
    ],
)
def test_cc_that_does_not_work(monkeypatch: pytest.MonkeyPatch, value: str, reason: str) -> None:
    monkeypatch.setenv("CC", value)
    with pytest.raises(CompileError, match="correct CC or unset it") as caught:
        find_compiler()
    assert value.split()[0] in str(caught.value)
    assert reason in str(caught.value)


def test_cc_that_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "fake cc"
    fake.write_text('#!/bin/sh\n[ "$1" = --version ] && echo fake 1 || { echo error: no; exit 3; }')
    fake.chmod(0o700)
    monkeypatch.setenv("CC", shlex.quote(str(fake)))
    with pytest.raises(CompileError, match="fake cc.* does not work.*error: no"):
        find_compiler()


def test_no_compiler_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.util.find_spec
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ziglang" else real(name)
    )
    assert find_compiler() is None


def test_the_ziglang_wheel_is_the_last_resort(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("the ziglang wheel is not installed")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_compiler()
    assert found is not None
    assert Path(found.command[0]).name.startswith("zig")
    assert library.load(SOURCE, found).answer() == 42


def test_compile_error_says_what_and_where(cc: Compiler, folder: Path) -> None:
    bad = "int f(void) { return missing; }\n"
    with pytest.raises(CompileError) as caught:
        library.load(bad, cc)
    message = str(caught.value)
    kept = next(folder.glob("build-*/*.c"))
    assert "error" in message
    assert "missing" in message
    assert f"command: {cc.command[0]}" in message
    assert str(kept) in message
    assert kept.read_text() == bad
    assert not objects(folder)


def test_a_compiler_that_vanished(tmp_path: Path) -> None:
    gone = Compiler((str(tmp_path / "cc"),), "1", (), False)
    with pytest.raises(CompileError, match="No such file"):
        library.load(SOURCE, gone)


# --- cache and loading


def test_compiled_once_per_machine_loaded_once_per_process(
    cc: Compiler,
    folder: Path,
    counted: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STATICNET_DEBUG", "time")
    with caplog.at_level(logging.INFO, "staticnet"):
        first = library.load(SOURCE, cc)
        assert library.load(SOURCE, cc) is first
        assert reload_(cc).answer() == 42
    assert counted == [SOURCE]
    name = cache.digest(cc.identity(), SOURCE)[:12]  # a thread may be compiling products' strips
    cold, warm = (record.message for record in caplog.records if name in record.message)
    assert "compiled in" in cold
    assert "loaded from the cache in" in warm
    assert warm.endswith(" ms")
    assert not list(folder.glob("build-*"))


def test_source_and_flags_are_in_the_key(cc: Compiler, folder: Path, counted: list[str]) -> None:
    library.load(SOURCE, cc)
    library.load(SOURCE + " ", cc)
    library.load(SOURCE, Compiler(cc.command, cc.version, (*cc.flags, "-DX"), cc.openmp))
    assert len(counted) == len(objects(folder)) == 3
    assert cache.digest("ab", "c") != cache.digest("a", "bc")


@pytest.mark.parametrize("damage", ["truncated", "one byte", "empty", "foreign"])
def test_a_damaged_object_is_built_again(
    cc: Compiler, folder: Path, counted: list[str], damage: str
) -> None:
    library.load(SOURCE, cc)
    (file,) = objects(folder)
    content = file.read_bytes()
    changed = {
        "truncated": content[: len(content) // 2],
        "one byte": content[:-1] + bytes([content[-1] ^ 1]),
        "empty": b"",
        "foreign": b"#!/bin/sh\necho code of somebody else\n",
    }[damage]
    file.unlink()  # this process has the old one mapped
    file.write_bytes(changed)
    file.chmod(0o700)
    assert reload_(cc).answer() == 42
    assert len(counted) == 2
    (rebuilt,) = objects(folder)
    assert hashlib.sha256(rebuilt.read_bytes()).hexdigest() in rebuilt.name


def test_an_object_with_a_wrong_name_is_not_loaded(folder: Path) -> None:
    store = cache.open_cache()
    store.build(KEY, ".txt", write("right"))
    (file,) = objects(folder, ".txt")
    file.rename(file.with_name(f"{KEY}.{'0' * 64}.txt"))
    assert store.find(KEY, ".txt") is None
    assert not objects(folder, ".txt")


@POSIX
def test_an_object_that_others_may_write_is_not_loaded(folder: Path) -> None:
    store = cache.open_cache()
    file, _ = store.build(KEY, ".txt", write("right"))
    file.chmod(0o666)
    assert store.find(KEY, ".txt") is None
    assert store.build(KEY, ".txt", write("right")) == (file, True)
    assert file.stat().st_mode & 0o077 == 0


def test_two_processes_at_once(cc: Compiler, folder: Path) -> None:
    code = (
        "import sys\n"
        "from staticnet.backends.cpu import compiler, library\n"
        "cc = compiler.find_compiler()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print([library.load(f'int f(void) {{ return {i}; }}', cc).f() for i in range(8)])\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(flags.__file__).parent.parent)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.communicate()[0].strip() for worker in workers] == [str(list(range(8)))] * 2
    keys = {file.name.split(".")[0] for file in objects(folder)}
    assert len(keys) == 8
    assert not list(folder.glob("build-*"))


def test_losing_a_race_keeps_both_right(folder: Path) -> None:
    store = cache.open_cache()

    def slow(path: Path) -> None:
        store.build(KEY, ".txt", write("same"))
        path.write_text("same")

    file, fresh = store.build(KEY, ".txt", slow)
    assert fresh
    assert file.read_text() == "same"
    assert store.build(KEY, ".txt", never) == (file, False)
    assert len(objects(folder, ".txt")) == 1


@POSIX
def test_new_folders_are_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "a" / "b"
    monkeypatch.setenv("STATICNET_CACHE", str(deep))
    cache.open_cache().build(KEY, ".txt", write("x"))
    for made in (deep.parent, deep, deep / KEY[:2]):
        assert made.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cc: Compiler,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STATICNET_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.INFO, "staticnet"):
        assert library.load(SOURCE, cc).answer() == 42
        assert library.load(SOURCE + " ", cc).answer() == 42
    assert [r.levelno for r in caplog.records] == [logging.INFO]
    assert "is unavailable" in caplog.text
    assert cache.open_cache() == cache.private()


def test_a_folder_that_is_removed_meanwhile(cc: Compiler, folder: Path) -> None:
    library.load(SOURCE, cc)
    shutil.rmtree(folder)
    assert reload_(cc).answer() == 42


def test_an_object_that_cannot_be_loaded_from_the_cache(
    cc: Compiler, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ctypes.CDLL

    def noexec(name: str) -> ctypes.CDLL:
        if name.startswith(str(folder)):
            raise OSError(f"{name}: failed to map segment from shared object")
        return real(name)

    monkeypatch.setattr(ctypes, "CDLL", noexec)
    assert compiler._probe(cc.command) == cc
    assert library.load(SOURCE, cc).answer() == 42
    monkeypatch.setattr(cache, "private", cache.open_cache)
    with pytest.raises(CompileError, match="cannot be loaded.*from which code may run"):
        reload_(cc)


@POSIX
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702, 0o1777])
def test_a_folder_that_others_may_write_is_refused(
    folder: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    folder.mkdir()
    folder.chmod(mode)
    cache._open.cache_clear()
    assert cache.open_cache() == cache.open_cache() == cache.private()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "refused" in record.message
    assert f"{mode:04o}" in record.message
    assert not list(folder.iterdir())


@POSIX
def test_a_folder_of_another_user_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(mode=0o700)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert cache.open_cache() == cache.private()
    assert f"it belongs to user {user}" in caplog.text


@POSIX
def test_a_folder_that_others_may_exchange_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("STATICNET_CACHE", str(shared / "cache"))
    assert cache.open_cache() == cache.private()
    assert f"{shared} may be written by anyone" in caplog.text


@POSIX
def test_a_link_is_followed_to_what_is_checked(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)
    assert cache.open_cache() == Cache(target)
    cache._open.cache_clear()
    target.chmod(0o777)
    assert cache.open_cache() == cache.private()


def test_the_process_folder_goes_with_the_process(tmp_path: Path) -> None:
    code = "from staticnet.backends import cache; print(cache.private().folder)"
    environment = os.environ | {"PYTHONPATH": str(Path(flags.__file__).parent.parent)}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    made = Path(done.stdout.strip())
    assert made.name.startswith("staticnet-")
    assert not made.exists()


@pytest.mark.slow
def test_a_first_product_at_the_end_of_the_process(cc: Compiler) -> None:
    """Python starts no threads then: what would be built side by side is built in turn."""
    code = """
import atexit
import numpy as np, staticnet as sn

@atexit.register
def last():
    x = sn.placeholder((128, 128))
    f = sn.function(x, sn.matmul(x, x), device="cpu")
    print(f(np.ones((128, 128), np.float32)).sum())
"""
    run = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("2.097152e+06\n", "")


def test_sweep_keeps_what_was_used_last(folder: Path) -> None:
    store = cache.open_cache()
    keys = [f"{i:02x}{KEY}" for i in range(4)]
    for age, key in enumerate(keys):
        file, _ = store.build(key, ".txt", write("x" * 100))
        os.utime(file, (time.time() - 100 * (age + 1),) * 2)
    assert store.find(keys[3], ".txt")  # a use makes the oldest the newest
    store.sweep(limit=250)
    assert [bool(store.find(key, ".txt")) for key in keys] == [True, False, False, True]


def test_what_a_sweep_takes_before_it_is_read_is_built_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Cache.build

    def swept(self: Cache, *given: Any) -> tuple[Path, bool]:
        file, fresh = build(self, *given)
        if self.folder == folder:
            file.unlink()
        return file, fresh

    monkeypatch.setattr(Cache, "build", swept)
    assert cache.content(KEY, ".txt", write("x")) == (b"x", True)


def test_sweep_removes_abandoned_builds_and_runs_rarely(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = cache.open_cache()
    sweeps: list[Path] = []
    monkeypatch.setattr(Cache, "sweep", lambda self: sweeps.append(self.folder))
    for i in range(3):
        store.build(f"{i}{KEY}", ".txt", write("x"))
    assert sweeps == [folder]
    long_ago = (time.time() - 1e5,) * 2
    os.utime(folder / "swept", long_ago)
    store.build(KEY, ".txt", write("x"))
    assert sweeps == [folder, folder]
    monkeypatch.undo()
    for name in ("build-old", "build-new"):
        (folder / name).mkdir()
    os.utime(folder / "build-old", long_ago)
    store.sweep()
    assert [f.name for f in folder.glob("build-*")] == ["build-new"]


# --- BLAS

MULTIPLY = (
    blas.PROTOTYPES
    + """
void multiply(sn_gemm_f32 *gemm, int ta, int tb, int m, int n, int k, const float *a,
              const float *b, float *c) {
    int lda = ta ? m : k, ldb = tb ? k : n;
    const float one = 1, zero = 0;
    gemm(tb ? "T" : "N", ta ? "T" : "N", &n, &m, &k, &one, b, &ldb, a, &lda, &zero, c, &n);
}
void multiply64(sn_gemm_f64 *gemm, int m, int n, int k, const double *a, const double *b,
                double *c) {
    const double one = 1, zero = 0;
    gemm("N", "N", &n, &m, &k, &one, b, &n, a, &k, &zero, c, &n);
}
void repeat(sn_gemm_f32 *gemm, int times, const float *a, const float *b, float *c) {
    for (int i = 0; i < times; i++) multiply(gemm, 0, 0, 10, 4, 2, a, b, c);
}
double others(sn_gemv_f64 *gemv, sn_ger_f64 *ger, sn_axpy_f64 *axpy, sn_scal_f64 *scal,
              sn_dot_f64 *dot, sn_dot_f32 *dot32, int m, int n, double *a, double *x, double *y) {
    const int one = 1; const double half = 0.5, zero = 0;
    const float three[2] = {3, 3};
    const int two = 2;
    gemv("T", &n, &m, &half, a, &n, x, &one, &zero, y, &one);  /* y = a x / 2, a row-major */
    axpy(&m, &half, y, &one, y, &one);
    scal(&m, &half, y, &one);
    ger(&n, &m, &half, x, &one, y, &one, a, &n);               /* a += y x' / 2 */
    return dot(&m, y, &one, y, &one) + dot32(&two, three, &one, three, &one);
}
"""
)


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.fixture
def routine() -> dict[str, ctypes.c_void_p]:
    return {name: ctypes.c_void_p(at) for name, at in blas.pointers(blas.ROUTINES.values()).items()}


@pytest.mark.parametrize(("ta", "tb"), list(itertools.product((0, 1), repeat=2)))
def test_sgemm_from_c(cc: Compiler, routine: dict[str, ctypes.c_void_p], ta: int, tb: int) -> None:
    m, n, k = 10, 4, 3
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, m) if ta else (m, k), np.float32)
    b = rng.standard_normal((n, k) if tb else (k, n), np.float32)
    c = np.full((m, n), np.nan, np.float32)
    lib = library.load(MULTIPLY, cc)
    lib.multiply(routine["sgemm"], ta, tb, m, n, k, pointer(a), pointer(b), pointer(c))
    np.testing.assert_allclose(c, (a.T if ta else a) @ (b.T if tb else b), rtol=1e-5, atol=1e-6)


def test_dgemm_from_c(cc: Compiler, routine: dict[str, ctypes.c_void_p]) -> None:
    rng = np.random.default_rng(1)
    a, b, c = rng.standard_normal((5, 7)), rng.standard_normal((7, 3)), np.empty((5, 3))
    lib = library.load(MULTIPLY, cc)
    lib.multiply64(routine["dgemm"], 5, 3, 7, pointer(a), pointer(b), pointer(c))
    np.testing.assert_allclose(c, a @ b, rtol=1e-12)


def test_the_other_routines_from_c(cc: Compiler, routine: dict[str, ctypes.c_void_p]) -> None:
    rng = np.random.default_rng(2)
    a, x, y = rng.standard_normal((5, 7)), rng.standard_normal(7), np.full(5, np.nan)
    expected_y = (a @ x / 2) * 1.5 * 0.5
    expected_a = a + np.outer(expected_y, x) / 2
    lib = library.load(MULTIPLY, cc)
    lib.others.restype = ctypes.c_double
    names = ("dgemv", "dger", "daxpy", "dscal", "ddot", "sdot")
    result = lib.others(
        *(routine[name] for name in names), 5, 7, pointer(a), pointer(x), pointer(y)
    )
    np.testing.assert_allclose(y, expected_y, rtol=1e-12)
    np.testing.assert_allclose(a, expected_a, rtol=1e-12)
    assert result == pytest.approx(expected_y @ expected_y + 18)


def test_a_small_product_as_often_as_one_likes(
    cc: Compiler, routine: dict[str, ctypes.c_void_p]
) -> None:
    a, b, c = (np.ones(shape, np.float32) for shape in ((10, 2), (2, 4), (10, 4)))
    lib = library.load(MULTIPLY, cc)
    lib.repeat(routine["sgemm"], 2000, pointer(a), pointer(b), pointer(c))
    assert np.all(c == 2)


def test_every_function_type_has_its_routine() -> None:
    for name, address in blas.ROUTINES.items():
        assert f" {name}(" in blas.PROTOTYPES
        assert blas.pointers([address])[address] > 0


def test_a_routine_that_is_not_there() -> None:
    with pytest.raises(ArgumentError, match="no routine 'hgemm'"):
        blas.pointers(["sgemm", "hgemm"])


def test_threads_are_those_of_scipys_blas() -> None:
    before = blas.blas_threads()
    if before is None:
        pytest.skip("SciPy's BLAS is no OpenBLAS")
    try:
        assert blas.set_blas_threads(1) == before
        assert blas.blas_threads() == 1
        assert "threads: 1" in blas.describe()
    finally:
        blas.set_blas_threads(before)
    assert blas.blas_threads() == before
    with pytest.raises(ArgumentError, match="at least one thread"):
        blas.set_blas_threads(0)


def test_a_blas_without_thread_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_symbol", lambda name: None)
    assert blas.blas_threads() is None
    assert blas.set_blas_threads(2) is None
    assert "SciPy" in blas.describe()


ROLLED = """
import numpy as np, staticnet as sn
x = sn.placeholder((5, 4), "float64", "x")
(d,) = sn.grad(sn.sum(sn.square(sn.roll(x * x, (1, 2), axis=(0, 1)))), [x])
f = sn.function([x], sn.grad(sn.sum(d * d), [x])[0], device="cpu")
np.testing.assert_allclose(f(np.ones((5, 4))), np.full((5, 4), 96.0))
"""


def test_no_vector_reads_beside_its_array() -> None:
    """In a process of its own: before the arena there is no memory."""
    subprocess.run([sys.executable, "-c", ROLLED], check=True)


def test_a_large_program_is_compiled_in_two_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels that stand in the second piece are called from the first, to the same bits."""
    x, w = sn.placeholder((8, 24), name="x"), sn.placeholder((24,), name="w")
    y = sn.nn.functional.softmax(sn.tanh(x * w), axis=-1)
    fetched = [y, sn.sum(y * y, 0), *sn.grad(sn.sum(sn.exp(y)), [x, w])]
    rng = np.random.default_rng(0)
    values = [rng.normal(size=node.shape).astype(np.float32) for node in (x, w)]
    whole = sn.function([x, w], fetched, device="cpu")
    wanted = whole(*values)
    monkeypatch.setattr(program, "LARGE_BODY", 1)
    monkeypatch.setattr(executable, "CORES", 2)
    monkeypatch.setenv("STATICNET_CACHE", str(tmp_path / "other"))
    library._loaded.clear()
    pieces = list[Any]()
    compile_ = Compiler.compile
    monkeypatch.setattr(
        Compiler, "compile", lambda *given: (pieces.append(given[3:]), compile_(*given))
    )
    for part, value in zip(
        sn.function([x, w], fetched, device="cpu")(*values), wanted, strict=True
    ):
        np.testing.assert_array_equal(part, value)
    ((first, second),) = (given[0] for given in pieces if given[:1] and given[0])
    moved = re.findall(r"^SN_SHARED_KERNEL void (k\w+)\(.*\{$", second, re.MULTILINE)
    assert moved
    assert re.findall(r"^SN_SHARED_KERNEL void (k\w+)\(.*\);$", first, re.MULTILINE) == moved
