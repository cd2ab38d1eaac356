"""Greatest error and speed of the float32 functions of kernels/math.h: the table of docs/math.md.

    python bench/math_ulp.py            a stratified sample of arguments, in seconds
    python bench/math_ulp.py --full     every float32 for the functions of one argument

The error is |got - exact| / ulp(exact) with ulp the spacing of float32 at the exact result rounded
to float32, Inf counted as 2**128, and `exact` from the platform's libm in double.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

HEADER = Path(__file__).resolve().parents[1] / "kernels" / "math.h"
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")
PLAIN = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")  # no fused products
WHOLE = 2**32

# The exact function in double, and the range in which its speed is measured.
UNARY = {
    "exp": ("exp(x)", -80, 80),
    "expm1": ("expm1(x)", -10, 10),
    "log": ("log(x)", 0, 1e3),
    "log1p": ("log1p(x)", 0, 1e3),
    "log2": ("log2(x)", 0, 1e3),
    "log10": ("log10(x)", 0, 1e3),
    "sin": ("sin(x)", -10, 10),
    "cos": ("cos(x)", -10, 10),
    "tan": ("tan(x)", -10, 10),
    "asin": ("asin(x)", -1, 1),
    "acos": ("acos(x)", -1, 1),
    "atan": ("atan(x)", -10, 10),
    "sinh": ("sinh(x)", -10, 10),
    "cosh": ("cosh(x)", -10, 10),
    "tanh": ("tanh(x)", -5, 5),
    "asinh": ("asinh(x)", -10, 10),
    "acosh": ("acosh(x)", 1, 100),
    "atanh": ("atanh(x)", -1, 1),
    "erf": ("erf(x)", -4, 4),
    "sigmoid": ("1 / (1 + exp(-x))", -10, 10),
    "sqrt": ("sqrt(x)", 0, 1e3),
    "rsqrt": ("1 / sqrt(x)", 0, 1e3),
    "floor": ("floor(x)", -10, 10),
    "ceil": ("ceil(x)", -10, 10),
    "trunc": ("trunc(x)", -10, 10),
    "rint": ("rint(x)", -10, 10),
    "fabs": ("fabs(x)", -10, 10),
    "sign": ("x != x ? x : (x > 0) - (x < 0)", -10, 10),
    "relu": ("x <= 0 ? 0 : x", -10, 10),
}
BINARY: dict[str, Callable[..., Any]] = {
    "pow": np.power,
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "logaddexp": np.logaddexp,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "copysign": np.copysign,
}
PARTIAL = {"exp_nonpositive": "exp(-fabs(x))"}  # defined on a part of the line: of -|x|
PREDICATES = ("isnan", "isinf", "isfinite", "signbit")
NUMPY = {
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "pow": "power",
    "atan2": "arctan2",
}
PEER: dict[str, Callable[..., Any]] = {
    "erf": special.erf,
    "sigmoid": special.expit,
    "rsqrt": lambda x, out: np.reciprocal(np.sqrt(x, out=out), out=out),
    "relu": lambda x, out: np.maximum(x, 0, out=out),
}

_GOT = """
#include "{header}"
#define UNARY(f) \\
  void f32_##f(const float *restrict x, float *restrict y, long n) {{ \\
    for (long i = 0; i < n; i++) y[i] = sn_##f##_f32(x[i]); }}
#define PARTIAL(f) \\
  void f32_##f(const float *restrict x, float *restrict y, long n) {{ \\
    for (long i = 0; i < n; i++) y[i] = sn_##f##_f32(-sn_fabs_f32(x[i])); }}
#define BINARY(f) \\
  void f32_##f(const float *restrict x, const float *restrict z, float *restrict y, long n) {{ \\
    for (long i = 0; i < n; i++) y[i] = sn_##f##_f32(x[i], z[i]); }}
#define PREDICATE(f) \\
  void f32_##f(const float *restrict x, sn_bool *restrict y, long n) {{ \\
    for (long i = 0; i < n; i++) y[i] = sn_##f##_f32(x[i]); }}
"""
# With this name glibc's header offers vector functions, within 4 ulp of a double.
_EXACT = """
#define __FAST_MATH__ 1
#include <math.h>
#define EXACT(f, e) \\
  void f64_##f(const float *restrict a, double *restrict y, long n) { \\
    for (long i = 0; i < n; i++) { double x = a[i]; y[i] = e; } }
"""
_SWEEP = """
#include <math.h>
#include <stdint.h>
#include <string.h>
enum { CHUNK = 4096 };
typedef void got_fn(const float *, float *, long);
typedef void exact_fn(const float *, double *, long);

/* errors in ulps of float32; -1 for what is exactly right, NaN and the infinities included */
void ulps(const float *got, const double *exact, double *error, long n) {
  for (long i = 0; i < n; i++) {
    float near = (float)exact[i], whole = 0x1p128;
    double g = got[i], x = exact[i];
    uint32_t bits;
    memcpy(&bits, &near, sizeof bits);
    uint32_t e = bits >> 23 & 255;
    e = e < 1 ? 1 : e > 254 ? 254 : e;
    uint64_t scale_bits = (uint64_t)(1023 + 150 - (int)e) << 52;
    double scale;
    memcpy(&scale, &scale_bits, sizeof scale);
    g = g > 0x1p128 ? 0x1p128 : g < -0x1p128 ? -0x1p128 : g;
    x = x > 0x1p128 ? 0x1p128 : x < -0x1p128 ? -0x1p128 : x;
    double d = fabs(g - x) * scale;
    d = d == d ? d : INFINITY;
    error[i] = (got[i] != got[i]) & (exact[i] != exact[i]) ? 0 : d;
  }
}

/* the greatest error over the bit patterns [first, last), and where it is */
double sweep(got_fn *got, exact_fn *exact, uint64_t first, uint64_t last, uint32_t *where) {
  float x[CHUNK], y[CHUNK];
  double z[CHUNK], error[CHUNK], worst = -1;
  for (uint64_t start = first; start < last; start += CHUNK) {
    long n = last - start < CHUNK ? (long)(last - start) : CHUNK;
    for (long i = 0; i < n; i++) {
      uint32_t bits = (uint32_t)start + (uint32_t)i;
      memcpy(&x[i], &bits, sizeof bits);
    }
    got(x, y, n);
    exact(x, z, n);
    ulps(y, z, error, n);
    for (long i = 0; i < n; i++)
      if (error[i] > worst) { worst = error[i]; *where = (uint32_t)start + (uint32_t)i; }
  }
  return worst;
}
"""


def compiler() -> str | None:
    """The C compiler: $CC, cc, gcc or clang, the first that is there."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def source() -> str:
    """A loop over each float32 function."""
    lines = [_GOT.format(header=HEADER)]
    lines += [f"UNARY({name})" for name in UNARY]
    lines += [f"PARTIAL({name})" for name in PARTIAL]
    lines += [f"BINARY({name})" for name in BINARY]
    lines += [f"PREDICATE({name})" for name in PREDICATES]
    return "\n".join(lines) + "\n"


class Driver:
    """The loops over the header's functions and their exact counterparts, compiled."""

    def __init__(self, folder: Path, flags: tuple[str, ...] = FLAGS) -> None:
        cc = compiler()
        if cc is None:
            raise RuntimeError("no C compiler: set CC, or install gcc or clang")
        formulas = {**{name: row[0] for name, row in UNARY.items()}, **PARTIAL}
        exact = _EXACT + "".join(f"EXACT({name}, {text})\n" for name, text in formulas.items())
        parts = (("got", source(), flags), ("sweep", _SWEEP, FLAGS))
        for name, text, options in (*parts, ("exact", exact, FLAGS)):
            (folder / f"{name}.c").write_text(text)
            command = [cc, "-std=c11", *options, "-fPIC", "-c", f"{name}.c", "-o", f"{name}.o"]
            if name == "got" and self.reports_vectorising(cc):
                command.append("-fopt-info-vec-optimized=vectorised.txt")
            subprocess.run(command, cwd=folder, check=True)
        objects = [f"{name}.o" for name in ("got", "sweep", "exact")]
        # not as needed: a loop over vector functions must find libmvec, which libm names
        subprocess.run([cc, "-shared", *objects, "-o", "ulp.so", "-lm"], cwd=folder, check=True)
        self._library = ctypes.CDLL(str(folder / "ulp.so"))
        self._library.sweep.restype = ctypes.c_double
        report = folder / "vectorised.txt"
        self.vectorised = self._vectorised(report.read_text()) if report.exists() else None

    @staticmethod
    def reports_vectorising(cc: str) -> bool:
        """Whether the compiler is gcc, whose report this module reads."""
        done = subprocess.run([cc, "--version"], capture_output=True, text=True, check=True)
        return "Free Software Foundation" in done.stdout

    @staticmethod
    def _vectorised(report: str) -> dict[str, int]:
        """Bytes in a vector of each function's loop, from gcc's report; absent where scalar."""
        lines = source().splitlines()
        widths: dict[str, int] = {}
        for line in report.splitlines():
            place, _, message = line.partition(": optimized: loop vectorized using ")
            if message and place.startswith("got.c:"):
                call = lines[int(place.split(":")[1]) - 1]
                name = call[call.index("(") + 1 : -1]
                widths[name] = max(widths.get(name, 0), int(message.split()[0]))
        return widths

    def call(self, name: str, *x: Any, dtype: Any = np.float32) -> Any:
        """y[i] = sn_<name>_f32(x[i], ...), float32 [n]."""
        y = np.empty(x[0].size, dtype)
        self.loop(name, *x, out=y)
        return y

    def loop(self, name: str, *x: Any, out: Any) -> None:
        """The compiled loop over arrays that are contiguous float32 [n]."""
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*x, out)]
        self.function(name)(*pointers, ctypes.c_long(out.size))

    def function(self, name: str) -> Any:
        """The compiled loop, of pointers and a count."""
        return getattr(self._library, f"f32_{name}")

    def exact(self, name: str, x: Any) -> Any:
        """The function of one argument in double.  x: float32 [n] -> y: float64 [n]"""
        y = np.empty(x.size)
        pointers = ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data)
        getattr(self._library, f"f64_{name}")(*pointers, ctypes.c_long(x.size))
        return y

    def ulps(self, got: Any, exact: Any) -> Any:
        """The error of each element.  got: float32 [n], exact: float64 [n] -> float64 [n]"""
        error = np.empty(got.size)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (got, exact, error)]
        self._library.ulps(*pointers, ctypes.c_long(got.size))
        return error

    def sweep(self, name: str) -> tuple[float, float]:
        """The greatest error over all floats, and where: on every core."""
        cores = os.cpu_count() or 1
        results: list[tuple[float, int]] = []

        def part(i: int) -> None:
            where = ctypes.c_uint32()
            functions = [getattr(self._library, f"{kind}_{name}") for kind in ("f32", "f64")]
            bounds = [ctypes.c_uint64(WHOLE * (i + k) // (64 * cores)) for k in (0, 1)]
            worst = self._library.sweep(*functions, *bounds, ctypes.byref(where))
            results.append((worst, where.value))

        def work(core: int) -> None:
            for i in range(core, 64 * cores, cores):
                part(i)

        threads = [threading.Thread(target=work, args=(core,)) for core in range(cores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        worst, where = max(results)
        return worst, float(np.uint32(where).view(np.float32))


def specials() -> Any:
    """Zeros, infinities, NaN, denormals, the ends of the range and small integers: float32 [n]."""
    positive = [0, 1e-45, 1.17549421e-38, 1.17549435e-38, 3.40282347e38, np.inf, np.nan, 2**24]
    positive += [0.5, 1, 1.5, 2, 3, 4, 10, 88.7, 103, 128, 149, 150, 1e-20, 1e-7, 1e7, 1e20]
    one = np.float32(1)
    near = [np.nextafter(one, np.float32(0)), np.nextafter(one, np.float32(2))]
    half = np.array([*positive, *near], np.float32)
    return np.concatenate([half, -half])


def sample(size: int = 2**22, seed: int = 0) -> Any:
    """Every sign and exponent alike, the ends of each, and the specials: float32 [about size]."""
    rng = np.random.default_rng(seed)
    each = size // 512
    mantissa = rng.integers(0, 2**23, (512, each), dtype=np.uint32)
    mantissa[:, :64] = np.arange(64)
    mantissa[:, 64:128] = 2**23 - 1 - np.arange(64)
    bits = mantissa | (np.arange(512, dtype=np.uint32) << 23)[:, None]
    return np.concatenate([bits.view(np.float32).reshape(-1), specials()])


def pairs(name: str, size: int = 2**21, seed: int = 1) -> tuple[Any, Any]:
    """Random bits, usual ranges, near ties and cancellation, all pairs of specials: float32."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, WHOLE, (2, size), dtype=np.uint32).view(np.float32)
    usual = (rng.standard_normal((2, size)) * np.array([[3], [10]])).astype(np.float32)
    if name == "pow":
        usual[0] = np.exp(usual[0])
        near = np.array([1 + rng.standard_normal(size) * 1e-3, rng.standard_normal(size) * 3e4])
    else:
        near = usual[:1] * (1 + rng.integers(-9, 9, (2, size)) * 1e-7)
    s = specials()
    square = np.array([np.repeat(s, s.size), np.tile(s, s.size)])
    x, y = np.concatenate([bits, usual, near.astype(np.float32), square], axis=1)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def worst_sampled(driver: Driver, name: str, size: int = 2**22) -> tuple[float, str]:
    """The greatest error over a sample, and where."""
    if name not in BINARY:
        x: tuple[Any, ...] = (sample(size),)
        exact = driver.exact(name, x[0])
    else:
        x = pairs(name, size // 2)
        with np.errstate(all="ignore"):
            exact = BINARY[name](*(a.astype(np.float64) for a in x))
    error = driver.ulps(driver.call(name, *x), exact)
    at = int(np.argmax(error))
    return float(error[at]), ", ".join(f"{a[at]:.9g}" for a in x)


def speed(driver: Driver, name: str, size: int = 2048) -> tuple[float, float]:
    """Elements a nanosecond on one core, arrays in its cache: of the header, and of NumPy."""
    rng = np.random.default_rng(2)
    low, high = UNARY[name][1:] if name in UNARY else (0.1, 10)
    count = 1 if name in UNARY else 2
    x = [rng.uniform(low, high, size).astype(np.float32) for _ in range(count)]
    y = np.empty(size, np.float32)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*x, y)]
    compiled = driver.function(name)
    peer = PEER.get(name) or getattr(np, NUMPY.get(name, name))
    n = ctypes.c_long(size)
    ours = _best(lambda: compiled(*pointers, n))
    return size / ours, size / _best(lambda: peer(*x, out=y))


def _best(act: Callable[[], Any], rounds: int = 30, calls: int = 50) -> float:
    """Nanoseconds of a call: the least of `rounds` means."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        for _ in range(calls):
            act()
        times.append((time.perf_counter_ns() - start) / calls)
    return min(times)


def row(driver: Driver, plain: Driver, name: str, full: bool) -> str:
    """One line of the table."""
    if full and name in UNARY:
        worst, where = driver.sweep(name)
        place = f"{where:.9g}"
    else:
        worst, place = worst_sampled(driver, name)
    place = place if worst else "—"
    unfused = worst_sampled(plain, name)[0]
    width = (driver.vectorised or {}).get(name, 0)
    ours, peer = speed(driver, name)
    vector = f"{8 * width} bit" if width else "no"
    return (
        f"| {name} | {worst:.2f} | {place} | {unfused:.2f} | {vector} | {ours:.2f} | {peer:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every float32: minutes a function")
    parser.add_argument("names", nargs="*", help="functions; default: all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as fused, tempfile.TemporaryDirectory() as unfused:
        driver, plain = Driver(Path(fused)), Driver(Path(unfused), PLAIN)
        print("| function | max ulp | at | max ulp, no FMA | vectorises | el/ns | NumPy el/ns |")
        print("|---|---|---|---|---|---|---|")
        for name in options.names or (*UNARY, *BINARY):
            print(row(driver, plain, name, options.full), flush=True)


if __name__ == "__main__":
    main()
