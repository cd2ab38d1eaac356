"""kernels/math.h, integers.h, philox.h: docs/math.md's bounds, special values, compilers."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staticnet.ops.random import random_words

ROOT = Path(__file__).resolve().parents[1]
HEADERS = [ROOT / "kernels" / name for name in ("math.h", "integers.h", "philox.h")]
INCLUDES = "".join(f'#include "{header}"\n' for header in HEADERS)


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("math_ulp", ROOT / "bench" / "math_ulp.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ulp = _load()
CC = ulp.compiler()
needs_cc = pytest.mark.skipif(CC is None, reason="no C compiler: cc, gcc or clang")
FUNCTIONS = [*ulp.UNARY, *ulp.BINARY]
INTEGERS = [f"{kind}{bits}" for kind in "iu" for bits in (8, 16, 32, 64)]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if CC is None:
        pytest.skip("no C compiler: cc, gcc or clang")
    return ulp.Driver(tmp_path_factory.mktemp("math"))


@pytest.fixture(scope="module")
def bounds() -> dict[str, float]:
    """The greatest error of each function in docs/math.md, with FMA or without."""
    rows = re.findall(
        r"^\| (\w+) \| ([\d.]+) \| [^|]+ \| ([\d.]+) \|", (ROOT / "docs/math.md").read_text(), re.M
    )
    return {name: max(float(a), float(b)) for name, a, b in rows}


def test_the_table_has_every_function_within_4_ulp(bounds: dict[str, float]) -> None:
    assert sorted(bounds) == sorted(FUNCTIONS)
    assert max(bounds.values()) <= 4


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_within_the_table(driver: Any, bounds: dict[str, float], name: str) -> None:
    worst, where = ulp.worst_sampled(driver, name, 2**19)
    slack = 0.25 if bounds[name] > 0.5 else 0.01  # compilers fuse differently
    assert worst <= bounds[name] + slack, where


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_exact(driver: Any, name: str) -> None:
    s = ulp.specials()
    if name in ulp.UNARY:
        x: tuple[Any, ...] = (s,)
        exact = driver.exact(name, s)
    else:
        x = np.repeat(s, s.size), np.tile(s, s.size)
        with np.errstate(all="ignore"):
            exact = ulp.BINARY[name](*(a.astype(np.float64) for a in x))
    got = driver.call(name, *x)
    with np.errstate(all="ignore"):
        exact = exact.astype(np.float32)
    special = ~np.isfinite(exact) | (exact == 0) | ~np.isfinite(got) | (got == 0)
    np.testing.assert_array_equal(got[special], exact[special])
    number = special & ~np.isnan(exact)
    if name not in ("maximum", "minimum"):  # of 0.0 and -0.0 either is right
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(exact[number]))


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("exp", 88.72283, np.float32(3.40279854e38)),
        ("exp", 88.72284, np.inf),
        ("exp", -103.97, np.float32(1e-45)),
        ("exp", -103.98, 0.0),
        ("exp", 0.0, 1.0),
        ("log", 1.0, 0.0),
        ("log2", 2.0**-149, -149.0),
        ("tanh", 1e-45, np.float32(1e-45)),
        ("tanh", 20.0, 1.0),
        ("sigmoid", 0.0, 0.5),
        ("sigmoid", -103.9, np.float32(1e-45)),
        ("sin", 3.4028235e38, np.float32(-0.5218765)),
        ("cos", 3.4028235e38, np.float32(0.8530210)),
        ("erf", 10.0, 1.0),
        ("acos", 1.0, 0.0),
        ("cosh", 0.0, 1.0),
    ],
)
def test_known_values(driver: Any, name: str, x: float, y: float) -> None:
    got = driver.call(name, np.array([x], np.float32))
    np.testing.assert_allclose(got, np.float32(y), rtol=2e-7 if np.isfinite(y) and y != 1 else 0)


def test_the_exponential_of_what_is_not_positive(driver: Any) -> None:
    worst, where = ulp.worst_sampled(driver, "exp_nonpositive", 2**19)
    assert worst <= 1.05, where
    x = np.array([0, -np.inf, -103.97, -103.98, -1e30, np.nan], np.float32)
    expected = np.array([1, 0, 1e-45, 0, 0, np.nan], np.float32)
    np.testing.assert_array_equal(driver.call("exp_nonpositive", x), expected)


def test_tanh_and_erf_stay_within_one_and_never_turn_back(driver: Any) -> None:
    x = np.linspace(0, 12, 2**20, dtype=np.float32)
    for name in ("tanh", "erf"):
        y = driver.call(name, x)
        assert y.max() == 1
        assert np.diff(y).min() >= -2.5e-7


@pytest.mark.parametrize("name", ulp.PREDICATES)
def test_predicates(driver: Any, name: str) -> None:
    x = ulp.sample(2**16)
    got = driver.call(name, x, dtype=np.bool_)
    np.testing.assert_array_equal(got, getattr(np, name)(x))


def test_loops_vectorise(driver: Any) -> None:
    if driver.vectorised is None:
        pytest.skip("only gcc reports what it vectorised")
    if subprocess.run([CC, "-dumpmachine"], capture_output=True).stdout[:6] != b"x86_64":
        pytest.skip("only known for x86-64")
    if not re.search(r"AVX2", _macros()):
        pytest.skip("without AVX2 rounding is a call")
    assert {*FUNCTIONS, *ulp.PREDICATES} - set(driver.vectorised) == set()


def _macros() -> str:
    command = [CC, "-march=native", "-dM", "-E", "-x", "c", "/dev/null"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# --- float64, integers and random bits ---------------------------------------------------------

_INTEGER_BINARY = {
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
}
_F64_BINARY = ["pow", "floor_divide", "remainder", "logaddexp", "hypot", "atan2", "maximum"]


@pytest.fixture(scope="module")
def scalars(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Loops over the integer and float64 functions: <function>_<type>(x, y, z, n)."""
    if CC is None:
        pytest.skip("no C compiler: cc, gcc or clang")
    binary = [(f, t) for t in INTEGERS for f in [*_INTEGER_BINARY, "pow"]]
    binary += [(f, "f64") for f in _F64_BINARY]
    unary = [(f, t) for t in INTEGERS for f in ("fabs", "sign", "relu", "rint")]
    unary += [(f, "f64") for f in ("sigmoid", "tanh", "relu", "sign", "rsqrt")]
    lines = [INCLUDES]
    lines += [
        f"void {f}_{t}(const sn_{t} *x, const sn_{t} *y, sn_{t} *z, long n) {{"
        f" for (long i = 0; i < n; i++) z[i] = sn_{f}_{t}(x[i], y[i]); }}"
        for f, t in binary
    ]
    lines += [
        f"void {f}_{t}(const sn_{t} *x, sn_{t} *z, long n) {{"
        f" for (long i = 0; i < n; i++) z[i] = sn_{f}_{t}(x[i]); }}"
        for f, t in unary
    ]
    lines += [
        "void words(sn_u64 key, sn_u64 counter, sn_u64 first, sn_u32 *z, long n) {"
        " for (long i = 0; i < n; i++) z[i] = sn_philox4x32(key, counter, first + i); }",
        "void block(sn_u64 key, sn_u64 counter, sn_u64 block, sn_u32 *z) {"
        " sn_philox4x32_block(key, counter, block, z); }",
    ]
    folder = tmp_path_factory.mktemp("scalars")
    (folder / "scalars.c").write_text("\n".join(lines) + "\n")
    command = [CC, "-std=c99", "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "scalars.c"]
    subprocess.run([*command, "-o", "scalars.so", "-lm"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "scalars.so"))


def run(library: ctypes.CDLL, name: str, *x: Any) -> Any:
    z = np.empty_like(x[0])
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*x, z)]
    getattr(library, name)(*pointers, ctypes.c_long(z.size))
    return z


def edges(t: str) -> Any:
    dtype = np.dtype(t[0] + str(int(t[1:]) // 8))
    info, bits = np.iinfo(dtype), int(t[1:])
    values = {0, 1, 2, 3, 7, 10, bits - 1, bits, bits + 1, info.max, info.max - 1, info.max // 2}
    if t[0] == "i":
        values |= {-1, -2, -3, -7, -bits, info.min, info.min + 1}
    return np.array(sorted(values), dtype)


def all_pairs(values: Any) -> tuple[Any, Any]:
    return np.repeat(values, values.size), np.tile(values, values.size)


@pytest.mark.parametrize("t", INTEGERS)
@pytest.mark.parametrize("name", _INTEGER_BINARY)
def test_integers_of_two_arguments(scalars: Any, name: str, t: str) -> None:
    x, y = all_pairs(edges(t))
    with np.errstate(all="ignore"):
        wanted = _INTEGER_BINARY[name](x, y)
    np.testing.assert_array_equal(run(scalars, f"{name}_{t}", x, y), wanted)


@pytest.mark.parametrize("t", INTEGERS)
def test_integer_powers(scalars: Any, t: str) -> None:
    x, y = all_pairs(edges(t))
    bits = int(t[1:])
    for a, b, got in zip(x.tolist(), y.tolist(), run(scalars, f"pow_{t}", x, y), strict=True):
        inverse = a ** (b % 2) if abs(a) == 1 else 0
        wanted = inverse if b < 0 else pow(a, b, 2**bits)
        assert (int(got) - wanted) % 2**bits == 0, (a, b)


@pytest.mark.parametrize("t", INTEGERS)
def test_integers_of_one_argument(scalars: Any, t: str) -> None:
    x = edges(t)
    np.testing.assert_array_equal(run(scalars, f"fabs_{t}", x), np.abs(x))
    np.testing.assert_array_equal(run(scalars, f"sign_{t}", x), np.sign(x))
    np.testing.assert_array_equal(run(scalars, f"relu_{t}", x), np.maximum(x, 0))
    np.testing.assert_array_equal(run(scalars, f"rint_{t}", x), x)


@pytest.mark.parametrize("name", _F64_BINARY)
def test_doubles_of_two_arguments(scalars: Any, name: str) -> None:
    special = [0, 0.5, 1, 1.5, 3, 7.25, 1e-300, 1e300, np.inf, np.nan, 0.1]
    x, y = all_pairs(np.array([*special, *(-v for v in special)]))
    numpy = getattr(np, {"pow": "power", "atan2": "arctan2"}.get(name, name))
    with np.errstate(all="ignore"):
        wanted = numpy(x, y)
    np.testing.assert_allclose(run(scalars, f"{name}_f64", x, y), wanted, rtol=1e-15)


def test_doubles_of_one_argument(scalars: Any) -> None:
    x = np.array([-np.inf, -800, -1, -0.0, 0.0, 1e-300, 2, 800, np.inf, np.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(run(scalars, "sigmoid_f64", x), ulp.special.expit(x), 1e-15)
        np.testing.assert_allclose(run(scalars, "rsqrt_f64", x), 1 / np.sqrt(x), 1e-15)
        np.testing.assert_array_equal(run(scalars, "sign_f64", x), np.sign(x))
    np.testing.assert_allclose(run(scalars, "tanh_f64", x), np.tanh(x), 1e-15)
    np.testing.assert_array_equal(run(scalars, "relu_f64", x), np.maximum(x, 0))


@pytest.mark.parametrize(("key", "counter"), [(0, 0), (2**64 - 1, 2**64 - 1), (2**40 + 7, 2**33)])
def test_philox_gives_the_bits_of_the_op(scalars: Any, key: int, counter: int) -> None:
    wanted = random_words(key, counter, 103)
    got = np.empty(103, np.uint32)
    u64 = ctypes.c_uint64
    pointer = ctypes.c_void_p(got.ctypes.data)
    scalars.words(u64(key), u64(counter), u64(0), pointer, ctypes.c_long(103))
    np.testing.assert_array_equal(got, wanted)
    scalars.block(u64(key), u64(counter), u64(5), pointer)
    np.testing.assert_array_equal(got[:4], wanted[20:24])


# --- compilers ---------------------------------------------------------------------------------


def _uses(qualifier: str) -> str:
    """A function that calls each float32 function and one of each other family."""
    calls = [f"sn_{name}_f32(x)" for name in ulp.UNARY]
    calls += [f"sn_{name}_f32(x, y)" for name in ulp.BINARY]
    calls += ["(float)sn_tanh_f64(x)", "(float)sn_remainder_f64(x, y)"]
    calls += ["(float)sn_floor_divide_i32((int)x, 3)", "(float)sn_philox4x32(1, 2, 3)"]
    return f"{qualifier} float all(float x, float y) {{ return {' + '.join(calls)}; }}\n"


COMPILERS = {
    "c99": ([CC, "-std=c99", "-xc"], "gcc or clang"),
    "c11": ([CC, "-std=c11", "-xc"], "gcc or clang"),
    "g++": (["g++", "-std=c++11", "-xc++"], "g++"),
    "clang": (["clang", "-std=c11", "-xc"], "clang"),
    "zig": ([sys.executable, "-m", "ziglang", "cc", "-xc"], "the ziglang wheel"),
}


@pytest.mark.parametrize("name", COMPILERS)
def test_compiles_without_warnings(name: str, tmp_path: Path) -> None:
    command, needed = COMPILERS[name]
    missing = command[0] is None or shutil.which(command[0]) is None
    if missing or (name == "zig" and importlib.util.find_spec("ziglang") is None):
        pytest.skip(f"needs {needed}")
    (tmp_path / "all.c").write_text(INCLUDES + _uses(""))
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-c", "all.c", "-o", "all.o"]
    subprocess.run([*command, *options], cwd=tmp_path, check=True)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_compiles_with_nvcc(arch: str, tmp_path: Path) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("needs nvcc")
    (tmp_path / "all.cu").write_text(INCLUDES + _uses("__device__"))
    subprocess.run(["nvcc", f"-arch={arch}", "-ptx", "all.cu"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_compiles_with_nvrtc(arch: str) -> None:
    library = _nvrtc()
    if library is None:
        pytest.skip("needs libnvrtc")
    program = ctypes.c_void_p()
    text = "".join(header.read_text() for header in HEADERS) + _uses("__device__")
    create = library.nvrtcCreateProgram
    assert create(ctypes.byref(program), text.encode(), b"all.cu", 0, None, None) == 0
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture={arch}".encode())
    status = library.nvrtcCompileProgram(program, 1, options)
    log = ctypes.create_string_buffer(100_000)
    library.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()


def _nvrtc() -> ctypes.CDLL | None:
    """NVRTC from the loader's path, else from its wheel."""
    wheels = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in wheels.submodule_search_locations] if wheels else []
    found = [str(path) for folder in folders for path in folder.rglob("libnvrtc.so.*")]
    for name in ("libnvrtc.so", *sorted(found)):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
