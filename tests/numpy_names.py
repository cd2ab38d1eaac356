"""Functions that NumPy, SciPy or PyTorch has: how to call ours, theirs, and on which inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from samples import distinct, pos, r, unit

import staticnet as sn

Array = np.ndarray[Any, Any]
Call = Callable[..., Any]
nan, inf = np.nan, np.inf


@dataclass(frozen=True)
class Case:
    """What ours is called with, and a reference: of NumPy and SciPy, or of PyTorch's tensors."""

    ours: Call
    theirs: Call
    args: tuple[Array, ...]
    torch: bool = False
    smooth: bool = True


def C(ours: Call, theirs: Call, *args: Array, torch: bool = False, smooth: bool = True) -> Case:
    return Case(ours, theirs, args, torch, smooth)


X, Y, V, W = r(3, 4), r(3, 4, seed=1), distinct(5), r(5, seed=7)
CUBE, D = r(2, 3, 4, seed=3), distinct(3, 4)
HOLES = np.array([[1.5, nan, 0.25], [nan, nan, 2.0], [3.0, -1.0, 0.5]])
COUNTS = np.array([3, 0, 1, 3, 3])
CASES: dict[str, Case] = {
    "lerp": C(sn.lerp, lambda t, x, y, w: t.lerp(x, y, w), X, Y, unit(3, 4), torch=True),
    "lerp, a number": C(lambda x, y: sn.lerp(x, y, 0.75), lambda t, x, y: t.lerp(x, y, 0.75), X, Y, torch=True),
    "addmm": C(lambda i, x, y: sn.addmm(i, x, y, beta=0.5, alpha=2), lambda t, i, x, y: t.addmm(i, x, y, beta=0.5, alpha=2), r(2, seed=4), r(3, 4), r(4, 2), torch=True),
    "addmm, beta 0": C(lambda x, y: sn.addmm(np.full((3, 2), nan), x, y, beta=0), lambda x, y: x @ y, r(3, 4), r(4, 2)),
    "baddbmm": C(sn.baddbmm, lambda t, i, x, y: t.baddbmm(i, x, y), r(2, 3, 2), r(2, 3, 4), r(2, 4, 2), torch=True),
    "addcmul": C(lambda i, x, y: sn.addcmul(i, x, y, value=3), lambda t, i, x, y: t.addcmul(i, x, y, value=3), X, Y, r(4), torch=True),
    "addcdiv": C(lambda i, x, y: sn.addcdiv(i, x, y, value=3), lambda t, i, x, y: t.addcdiv(i, x, y, value=3), X, Y, pos(3, 4), torch=True),
    "dot": C(sn.dot, np.dot, r(3, 4), r(4, 2)),
    "dot of vectors": C(sn.dot, np.dot, V, W),
    "dot of stacks": C(sn.dot, np.dot, CUBE, r(5, 4, 2)),
    "dot of a stack and a vector": C(sn.dot, np.dot, CUBE, r(4)),
    "dot of a scalar": C(lambda x: sn.dot(2.0, x), lambda x: np.dot(2.0, x), X),
    "inner": C(sn.inner, np.inner, CUBE, r(5, 4)),
    "inner of vectors": C(sn.inner, np.inner, V, W),
    "kron": C(sn.kron, np.kron, r(2, 3), r(3, 2, seed=2)),
    "kron of ranks": C(sn.kron, np.kron, r(2), r(3, 2, seed=2)),
    "diagonal": C(sn.diagonal, np.diagonal, X),
    "diagonal above": C(lambda x: sn.diagonal(x, 2), lambda x: np.diagonal(x, 2), X),
    "diagonal below": C(lambda x: sn.diagonal(x, -1, -2, -1), lambda x: np.diagonal(x, -1, -2, -1), CUBE),
    "diagonal, turned": C(lambda x: sn.diagonal(x, 1, 2, 0), lambda x: np.diagonal(x, 1, 2, 0), CUBE),
    "diagonal beyond": C(lambda x: sn.diagonal(x, 9), lambda x: np.diagonal(x, 9), X),
    "diag of a vector": C(sn.diag, np.diag, V),
    "diag above": C(lambda x: sn.diag(x, 2), lambda x: np.diag(x, 2), V),
    "diag below": C(lambda x: sn.diag(x, -1), lambda x: np.diag(x, -1), V),
    "diag of a matrix": C(lambda x: sn.diag(x, 1), lambda x: np.diag(x, 1), X),
    "trace": C(sn.trace, np.trace, X),
    "cov of one variable": C(lambda x: sn.cov(x[:1]), lambda x: np.cov(x[:1]), X),
    "corrcoef of one column": C(lambda x: sn.corrcoef(x[:, :1], rowvar=False), lambda x: np.corrcoef(x[:, :1], rowvar=False), X, smooth=False),
    "diff, its positions": C(lambda x: sn.diff(x, 2, 0), lambda x: np.diff(x, 2, 0), X),
    "diff, a number before": C(lambda x: sn.diff(x, prepend=0.1, append=x[:, :1]), lambda x: np.diff(x, prepend=0.1, append=x[:, :1]), X),
    "pad, one width": C(lambda x: sn.pad(x, 1), lambda x: np.pad(x, 1), X),
    "pad, one width in a tuple": C(lambda x: sn.pad(x, (2,)), lambda x: np.pad(x, (2,)), V),
    **{f"round, {d} digits": C(lambda x, d=d: sn.round(x * 50, d), lambda x, d=d: np.round(x * 50, d), X, smooth=False) for d in (0, 2, -1)},
    "round, tens of integers": C(lambda x: sn.round(sn.astype(x, "int32") * 5, -1), lambda x: np.round(x * 5, -1).astype("i4"), np.arange(-4.0, 5), smooth=False),
    "histogram, its positions": C(lambda x: sn.histogram(x, 4, (-2, 2), True)[0], lambda x: np.histogram(x, 4, (-2, 2), True)[0], X, smooth=False),
    "trace of stacks": C(lambda x: sn.trace(x, 1, 1, 2), lambda x: np.trace(x, 1, 1, 2), CUBE),
    "vander": C(sn.vander, np.vander, pos(4)),
    "vander, three, increasing": C(lambda x: sn.vander(x, 3, increasing=True), lambda x: np.vander(x, 3, increasing=True), pos(4)),
    "rot90": C(sn.rot90, np.rot90, X),
    "rot90, three times": C(lambda x: sn.rot90(x, 3, (2, 1)), lambda x: np.rot90(x, 3, (2, 1)), CUBE),
    "rot90, back": C(lambda x: sn.rot90(x, -2, (0, 2)), lambda x: np.rot90(x, -2, (0, 2)), CUBE),
    "fmax": C(sn.fmax, np.fmax, X, r(4, seed=2)),
    "fmax of NaN": C(lambda x: sn.fmax(x, HOLES), lambda x: np.fmax(x, HOLES), r(3, 3)),
    "fmin": C(sn.fmin, np.fmin, X, Y),
    "fmin of NaN": C(lambda x: sn.fmin(HOLES, x), lambda x: np.fmin(HOLES, x), r(3, 3)),
    "fmod": C(sn.fmod, np.fmod, X * 3, Y),
    "fmod by infinity": C(lambda x: sn.fmod(x, inf), lambda x: np.fmod(x, inf), X),
    "heaviside": C(lambda x: sn.heaviside(sn.astype(x, "int32"), 0.5), lambda x: np.heaviside(x.astype("i4"), 0.5).astype("f4"), X, smooth=False),
    "heaviside at 0": C(lambda x: sn.heaviside(np.array([0.0, -1, 1, 0]), x), lambda x: np.heaviside(np.array([0.0, -1, 1, 0]), x), r(4)),
    "nan_to_num": C(lambda x: sn.nan_to_num(x * np.array([1, nan, inf, -inf])), lambda x: np.nan_to_num(x * np.array([1, nan, inf, -inf])), pos(3, 4), smooth=False),
    "nan_to_num, to": C(lambda x: sn.nan_to_num(x / np.array([1, 1, 0, 0.0]), 1, 2, 3), lambda x: np.nan_to_num(x / np.array([1, 1, 0, 0.0]), nan=1, posinf=2, neginf=3), X, smooth=False),
    "isclose": C(lambda x, y: sn.isclose(x, x + y * 1e-5), lambda x, y: np.isclose(x, x + y * 1e-5), X, Y, smooth=False),
    "isclose, special": C(lambda x: sn.isclose(x * np.array([1, nan, inf, inf]), np.array([1, nan, inf, -inf]), equal_nan=True), lambda x: np.isclose(x * np.array([1, nan, inf, inf]), np.array([1, nan, inf, -inf]), equal_nan=True), pos(3, 4), smooth=False),
    "allclose": C(lambda x: sn.allclose(x, x + 1e-9), lambda x: np.allclose(x, x + 1e-9), X, smooth=False),
    "xlogy": C(sn.xlogy, lambda t, x, y: t.special.xlogy(x, y), X, pos(3, 4), torch=True),
    "xlog1py": C(sn.xlog1py, lambda t, x, y: t.special.xlog1py(x, y), X, pos(3, 4), torch=True),
    "xlog1py of 0": C(lambda y: sn.xlog1py(sn.zeros_like(y), y), np.zeros_like, np.array([-1.0, -3, inf, 2]), smooth=False),
    "logaddexp2": C(sn.logaddexp2, lambda t, x, y: t.logaddexp2(x, y), X, Y, torch=True),
    "logaddexp2, far": C(sn.logaddexp2, np.logaddexp2, np.array([2e3, -inf, inf]), np.array([1e3, -inf, 0]), smooth=False),
    "frac": C(sn.frac, lambda t, x: t.frac(x), X, torch=True),
    "isin": C(lambda x: sn.isin(x, X[:2, :2]), lambda x: np.isin(x, X[:2, :2]), X, smooth=False),
    "isin, inverted": C(lambda x: sn.isin(x, X[0], invert=True), lambda x: np.isin(x, X[0], invert=True), X, smooth=False),
    "isposinf": C(lambda x: sn.isposinf(sn.where(x > 0, inf, x)), lambda x: x > 0, X, smooth=False),
    "isneginf": C(lambda x: sn.isneginf(sn.where(x > 0, inf, -inf)), lambda x: x <= 0, X, smooth=False),
    "logit": C(sn.logit, lambda t, x: t.logit(x), (unit(3, 4) + 1) / 2, torch=True),
    "logit, limited": C(lambda x: sn.logit(x, 0.1), lambda t, x: t.logit(x, 0.1), unit(3, 4), torch=True),
    "exp2": C(sn.exp2, np.exp2, X),
    "sinc": C(sn.sinc, np.sinc, X),
    "sinc near 0": C(sn.sinc, np.sinc, unit(3, 4) / 5),
    "deg2rad": C(sn.deg2rad, np.deg2rad, X),
    "rad2deg": C(sn.rad2deg, np.rad2deg, X),
    "median": C(sn.median, np.median, D),
    "median of 5": C(sn.median, np.median, V),
    "median along": C(lambda x: sn.median(x, 1, keepdims=True), lambda x: np.median(x, 1, keepdims=True), D),
    "median along two": C(lambda x: sn.median(x, (0, 2)), lambda x: np.median(x, (0, 2)), distinct(2, 3, 4)),
    "median of infinities": C(lambda x: sn.median(x * inf), lambda x: np.median(x * inf), pos(4), smooth=False),
    "nanmedian": C(lambda x: sn.nanmedian(x + HOLES, 1), lambda x: np.nanmedian(x + HOLES, 1), unit(3, 3) / 8),
    "quantile": C(lambda x: sn.quantile(x, 0.3), lambda x: np.quantile(x, 0.3), D),
    "quantiles along": C(lambda x: sn.quantile(x, [0, 0.1, 0.5, 1], 1), lambda x: np.quantile(x, [0, 0.1, 0.5, 1], 1), D),
    "quantiles, kept": C(lambda x: sn.quantile(x, [[0.2], [0.7]], (0, -1), keepdims=True), lambda x: np.quantile(x, [[0.2], [0.7]], (0, -1), keepdims=True), distinct(2, 3, 4)),
    "quantile by a value": C(lambda x, q: sn.quantile(x, q), lambda x, q: np.quantile(x, q), V, np.array([0.3, 0.6])),
    "nanquantile": C(lambda x: sn.nanquantile(x + HOLES, [0.25, 0.5], 0), lambda x: np.nanquantile(x + HOLES, [0.25, 0.5], 0), unit(3, 3) / 8),
    **{f"quantile, {m}": C(lambda x, m=m: sn.quantile(x, [0.1, 0.125, 0.3, 0.45, 0.8], 0, method=m), lambda x, m=m: np.quantile(x, [0.1, 0.125, 0.3, 0.45, 0.8], 0, method=m), distinct(5, 2)) for m in ("linear", "lower", "higher", "nearest", "midpoint")},
    "nansum": C(lambda x: sn.nansum(x + HOLES, 1), lambda x: np.nansum(x + HOLES, 1), r(3, 3)),
    "nanprod": C(lambda x: sn.nanprod(x + HOLES, 0), lambda x: np.nanprod(x + HOLES, 0), r(3, 3)),
    "nanmean": C(lambda x: sn.nanmean(x + HOLES, 1), lambda x: np.nanmean(x + HOLES, 1), r(3, 3)),
    "nanmax": C(lambda x: sn.nanmax(x + HOLES, 1), lambda x: np.nanmax(x + HOLES, 1), unit(3, 3) / 8),
    "nanmin": C(lambda x: sn.nanmin(x + HOLES, 1, keepdims=True), lambda x: np.nanmin(x + HOLES, 1, keepdims=True), unit(3, 3) / 8),
    "nanvar": C(lambda x: sn.nanvar(x + HOLES, correction=1), lambda x: np.nanvar(x + HOLES, ddof=1), r(3, 3)),
    "nanstd": C(lambda x: sn.nanstd(x + HOLES, 0), lambda x: np.nanstd(x + HOLES, 0), r(3, 3)),
    "var_mean": C(lambda x: sn.stack(sn.var_mean(x, 1)), lambda x: np.stack([np.var(x, 1), np.mean(x, 1)]), X),
    "std_mean": C(lambda x: sn.stack(sn.std_mean(x, 1, correction=1)), lambda x: np.stack([np.std(x, 1, ddof=1), np.mean(x, 1)]), X),
    "cov": C(sn.cov, np.cov, X),
    "cov of columns": C(lambda x: sn.cov(x, 0, rowvar=False), lambda x: np.cov(x, rowvar=False, ddof=0), X),
    "cov of a vector": C(sn.cov, np.cov, V),
    "corrcoef": C(lambda x: sn.tril(sn.corrcoef(x), -1), lambda x: np.tril(np.corrcoef(x), -1), X),
    "corrcoef, whole": C(sn.corrcoef, np.corrcoef, X, smooth=False),
    "bincount": C(lambda w: sn.bincount(sn.constant(COUNTS), w, minlength=6), lambda w: np.bincount(COUNTS, w, 6), W),
    "digitize": C(lambda x: sn.digitize(x, [-1, 0, 0.5]), lambda x: np.digitize(x, [-1, 0, 0.5]), X, smooth=False),
    "digitize, right": C(lambda x: sn.digitize(sn.round(x), [-1, 0, 1], right=True), lambda x: np.digitize(np.rint(x), [-1, 0, 1], right=True), X, smooth=False),
    "digitize, descending": C(lambda x: sn.digitize(sn.round(x), np.array([1, 0, -1])), lambda x: np.digitize(np.rint(x), np.array([1, 0, -1])), X, smooth=False),
    "digitize, descending, right": C(lambda x: sn.digitize(sn.round(x), [1, 0, -1], True), lambda x: np.digitize(np.rint(x), [1, 0, -1], True), X, smooth=False),
    "cummax": C(lambda x: sn.cummax(x, 1), lambda x: np.maximum.accumulate(x, 1), D),
    "cummin": C(sn.cummin, np.minimum.accumulate, V),
    "logcumsumexp": C(lambda x: sn.logcumsumexp(x * 100, 0), lambda x: np.logaddexp.accumulate(x * 100, 0), X / 8),
    "average": C(lambda x, w: sn.average(x, 1, w), lambda x, w: np.average(x, 1, w), X, Y * Y),
    "average, a vector": C(lambda x, w: sn.average(x, 0, w), lambda x, w: np.average(x, 0, w), X, V[:3]),
    "average, plain": C(sn.average, np.average, X),
    "average, its weight": C(lambda x, w: sn.average(x, 1, w, returned=True)[1], lambda x, w: np.average(x, 1, w, returned=True)[1], X, Y * Y, smooth=False),
    "ptp": C(lambda x: sn.ptp(x, 1), lambda x: np.ptp(x, 1), D),
    "percentile": C(lambda x: sn.percentile(x, [10, 62.5], 1), lambda x: np.percentile(x, [10, 62.5], 1), D),
    "nanpercentile": C(lambda x: sn.nanpercentile(x, 40, 1), lambda x: np.nanpercentile(x, 40, 1), HOLES, smooth=False),
    "histogram": C(lambda x: sn.histogram(x, 4)[0], lambda x: np.histogram(x, 4)[0], D, smooth=False),
    "histogram, edges": C(lambda x: sn.histogram(x, 4)[1], lambda x: np.histogram(x, 4)[1], D),
    "histogram, a range": C(lambda x: sn.histogram(x, 3, (-0.5, 1.0))[0], lambda x: np.histogram(x, 3, (-0.5, 1.0))[0], X, smooth=False),
    "histogram, weights": C(lambda x, w: sn.histogram(x, [-9.0, -0.2, 0.1, 9.0], weights=w)[0], lambda x, w: np.histogram(x, [-9.0, -0.2, 0.1, 9.0], weights=w)[0], X, Y, smooth=False),
    "histogram, a density": C(lambda x: sn.histogram(x, 5, (-3, 3), density=True)[0], lambda x: np.histogram(x, 5, (-3, 3), density=True)[0], X, smooth=False),
    "histogram, whole bins": C(lambda x: sn.histogram(x, 5, (0, 25))[0], lambda x: np.histogram(x, 5, (0, 25))[0], np.array([1, 2, 3, 10, 11, 15, 19, 25]), smooth=False),
    "histogram, a range of tenths": C(lambda x: sn.histogram(x, 3, (-1.4, 24.7))[0], lambda x: np.histogram(x, 3, (-1.4, 24.7))[0], np.array([-1.4, 7.3, 16.0, 24.7]), smooth=False),
    "histogram, integers": C(lambda x: sn.histogram(x, [0, 1, 3])[0], lambda x: np.histogram(x, [0, 1, 3])[0], COUNTS, smooth=False),
    "histogram, wide integers": C(lambda x: sn.histogram(x, np.int64(3))[0], lambda x: np.histogram(x, 3)[0], np.array([2**24 + 1, 2**24, 2**24 + 2, 2**24 + 3]), smooth=False),
    "histogram, edges of integers": C(lambda x: sn.histogram(x, 3)[1], lambda x: np.histogram(x, 3)[1], COUNTS, smooth=False),
    "histogram, equal values": C(lambda x: sn.histogram(x * 0, 4)[0], lambda x: np.histogram(x * 0, 4)[0], V, smooth=False),
    "gradient": C(lambda x: sn.gradient(x, axis=1), lambda x: np.gradient(x, axis=1), X),
    "gradient, a distance": C(lambda x: sn.gradient(x, 0.25, axis=0), lambda x: np.gradient(x, 0.25, axis=0), X),
    "gradient, places": C(lambda x: sn.gradient(x, [0.0, 0.5, 2.0, 2.25], axis=1), lambda x: np.gradient(x, [0.0, 0.5, 2.0, 2.25], axis=1), X),
    "gradient, places of bytes": C(lambda x, p: sn.gradient(x, p, axis=np.int64(1)), lambda x, p: np.gradient(x, p.astype("f8"), axis=1), X, np.array([9, 5, 3, 1], "u1"), smooth=False),
    "average, one of several axes": C(lambda x, w: sn.average(x, (1,), w), lambda x, w: np.average(x, (1,), w), X, V[:4]),
    "interp beside infinity": C(lambda x: sn.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, np.inf]), lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, np.inf]), np.array([0.5, 1.0]), smooth=False),
    "gradient, axes in an order": C(lambda x: sn.gradient(x, 1.0, 0.5, axis=(1, 0))[1], lambda x: np.gradient(x, 1.0, 0.5, axis=(1, 0))[1], X),
    "gradient, all axes": C(lambda x: sn.gradient(x)[2], lambda x: np.gradient(x)[2], CUBE),
    "polyval": C(sn.polyval, np.polyval, V, X),
    "unwrap": C(lambda x: sn.unwrap(x * 4), lambda x: np.unwrap(x * 4), X),
    "unwrap, a period": C(lambda x: sn.unwrap(x, axis=0, period=1.0), lambda x: np.unwrap(x, axis=0, period=1.0), X),
    "logspace": C(lambda x: x * sn.logspace(-1, 2, 5, x.dtype), lambda x: x * np.logspace(-1, 2, 5), V),
    "geomspace": C(lambda x: x * sn.geomspace(-8, -0.5, 5, x.dtype), lambda x: x * np.geomspace(-8, -0.5, 5), V),
    "geomspace, open": C(lambda x: x * sn.geomspace(1, 32, 5, x.dtype, endpoint=False), lambda x: x * np.geomspace(1, 32, 5, endpoint=False), V),
    "trapezoid": C(sn.trapezoid, np.trapezoid, X),
    "trapezoid, steps": C(lambda x: sn.trapezoid(x, dx=0.5, axis=0), lambda x: np.trapezoid(x, dx=0.5, axis=0), X),
    "trapezoid at": C(lambda y, x: sn.trapezoid(y, x), lambda y, x: np.trapezoid(y, x), X, r(4, seed=8)),
    "trapezoid at each": C(lambda y, x: sn.trapezoid(y, x, axis=0), lambda y, x: np.trapezoid(y, x, axis=0), X, Y),
    "cumulative_trapezoid": C(lambda x: sn.cumulative_trapezoid(x, dx=2), lambda t, x: t.cumulative_trapezoid(x, dx=2), X, torch=True),
    "interp": C(lambda x, f: sn.interp(x, [-1.0, 0.2, 1.6], f), lambda x, f: np.interp(x, [-1.0, 0.2, 1.6], f), X, r(3)),
    "interp, beyond": C(lambda x: sn.interp(x, [-1.0, 0.2, 1.6], [3, 1, 2], left=7, right=9), lambda x: np.interp(x, [-1.0, 0.2, 1.6], [3, 1, 2], left=7, right=9), X),
}  # fmt: skip
