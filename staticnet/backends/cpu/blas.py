"""BLAS and LAPACK for generated C: the addresses of SciPy's routines, and control of their threads.

SciPy publishes the routines it is linked with in `scipy.linalg.cython_blas` and `cython_lapack`, as
capsules that hold a C function's address. NumPy carries a BLAS of its own, which nothing here
touches.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from staticnet.errors import ArgumentError, DeviceError

ROUTINES = {
    f"sn_{name}_{dtype}": letter + name
    for dtype, letter in (("f32", "s"), ("f64", "d"))
    for name in ("gemm", "gemv", "ger", "axpy", "scal", "dot")
}
"""The routine for each function type of `PROTOTYPES`: `sn_gemm_f32` is `sgemm`."""

_TYPEDEFS = """\
typedef void sn_gemm_{s}(const char *transa, const char *transb, const int *m, const int *n,
                        const int *k, const {t} *alpha, const {t} *a, const int *lda,
                        const {t} *b, const int *ldb, const {t} *beta, {t} *c, const int *ldc);
typedef void sn_gemv_{s}(const char *trans, const int *m, const int *n, const {t} *alpha,
                        const {t} *a, const int *lda, const {t} *x, const int *incx,
                        const {t} *beta, {t} *y, const int *incy);
typedef void sn_ger_{s}(const int *m, const int *n, const {t} *alpha, const {t} *x,
                       const int *incx, const {t} *y, const int *incy, {t} *a, const int *lda);
typedef void sn_axpy_{s}(const int *n, const {t} *alpha, const {t} *x, const int *incx, {t} *y,
                        const int *incy);
typedef void sn_scal_{s}(const int *n, const {t} *alpha, {t} *x, const int *incx);
typedef {t} sn_dot_{s}(const int *n, const {t} *x, const int *incx, const {t} *y,
                      const int *incy);
"""
PROTOTYPES = """\
/* Fortran's convention: every argument by pointer, 32-bit ints, column-major matrices.
   A row-major matrix is its transpose in column-major order, so for row-major c = op(a) op(b),
   c: [m, n], op(a): [m, k], op(b): [k, n], swap the operands:
       gemm(transb, transa, &n, &m, &k, &alpha, b, &ldb, a, &lda, &beta, c, &ldc)
   where each ld is that matrix's row length as stored, at least 1 (BLAS rejects 0 even if
   empty). With beta 0, c is not read. c may not overlap a or b. */
""" + "".join(_TYPEDEFS.format(s=s, t=t) for s, t in (("f32", "float"), ("f64", "double")))
"""C to paste in a prelude: one function type for each routine and dtype, as `sn_gemm_f32`."""

_BLAS, _LAPACK = "scipy.linalg.cython_blas", "scipy.linalg.cython_lapack"
_capsule_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(
    ("PyCapsule_GetName", ctypes.pythonapi)
)
_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def pointers(names: Iterable[str]) -> dict[str, int]:
    """The C addresses of routines of BLAS and LAPACK by their names, as `{"sgemm": 0x7f…}`.

    Raises:
        ArgumentError: on a name that SciPy does not have.
        DeviceError: if SciPy's BLAS takes other than 32-bit ints.
    """
    capsules = _module(_BLAS).__pyx_capi__
    signature = _capsule_name(capsules["sgemm"])
    if not re.search(rb"\bint \*", signature):
        raise DeviceError(
            f"SciPy's BLAS does not take 32-bit ints: sgemm is {signature.decode()}; "
            "install SciPy from its wheel"
        )
    found = {}
    for name in names:
        if name not in capsules:
            capsules = capsules | _module(_LAPACK).__pyx_capi__
        if name not in capsules:
            raise ArgumentError(
                f"BLAS and LAPACK have no routine {name!r}; there are {', '.join(capsules)}"
            )
        found[name] = _capsule_pointer(capsules[name], _capsule_name(capsules[name]))
    return found


def describe() -> str:
    """One line that says which BLAS it is, and with how many threads it runs."""
    import scipy

    library = scipy.show_config("dicts")["Build Dependencies"]["blas"]
    text = f"{library['name']} {library.get('version', '')} of SciPy {scipy.__version__}"
    if configuration := _symbol("get_config"):
        configuration.restype = ctypes.c_char_p
        text += f" ({configuration().decode().strip()})"
    threads = blas_threads()
    return text if threads is None else f"{text}, threads: {threads}"


def blas_threads() -> int | None:
    """How many threads SciPy's BLAS may use; None if it is no OpenBLAS."""
    get = _symbol("get_num_threads")
    return None if get is None else int(get())


def set_blas_threads(n: int) -> int | None:
    """Let SciPy's BLAS use `n` threads; gives how many it used before, None if it cannot be set.

    Raises:
        ArgumentError: if `n` is not positive.
    """
    if n < 1:
        raise ArgumentError(f"set_blas_threads({n}): BLAS needs at least one thread")
    before, set_ = blas_threads(), _symbol("set_num_threads")
    if before is None or set_ is None:
        return None
    set_.argtypes = (ctypes.c_int,)
    set_.restype = None
    set_(n)
    return before


def thread_controls() -> tuple[int, int]:
    """The C addresses of the functions that set and get the thread count; 0 if there are none."""
    set_, get = _symbol("set_num_threads"), _symbol("get_num_threads")
    if set_ is None or get is None:
        return 0, 0
    return tuple(ctypes.cast(f, ctypes.c_void_p).value or 0 for f in (set_, get))  # type: ignore[return-value]


@functools.cache
def _module(name: str) -> Any:
    """SciPy's extension alone: the rest of `scipy.linalg` takes a tenth of a second to import."""
    package = importlib.util.find_spec("scipy")
    folders = [
        str(Path(f, "linalg")) for f in (package and package.submodule_search_locations) or ()
    ]
    spec = PathFinder.find_spec(name, folders)
    if name in sys.modules or spec is None or spec.loader is None or sys.platform == "win32":
        return importlib.import_module(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def _symbol(name: str) -> Any:
    """A function of the OpenBLAS that SciPy is linked with, or None.

    Looking up a symbol through the extension module searches the libraries it was linked with,
    so that another OpenBLAS in the process, as NumPy's, is never taken for it.
    """
    library = ctypes.CDLL(_module(_BLAS).__file__)
    for prefix in ("scipy_", ""):
        for suffix in ("", "64_", "_64"):
            function = getattr(library, f"{prefix}openblas_{name}{suffix}", None)
            if function is not None:
                return function
    return None
