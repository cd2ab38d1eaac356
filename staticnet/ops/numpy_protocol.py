"""What NumPy's functions do with values: `np.sin(x)` of a node is the node of `sn.sin(x)`.

NumPy asks its operands first (NEP 13, NEP 18). A function that is here, under whatever name, is
called; any other is an error that says what to use, so that an array of objects never comes of it.
Tensors, whose values are there, go to other functions as arrays.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from staticnet.errors import ArgumentError, SymbolicValueError
from staticnet.ir import location
from staticnet.ir.hints import NAMES
from staticnet.ir.node import describe
from staticnet.ir.value import FUNCTIONS, Elsewhere, Value
from staticnet.ops import methods

UFUNCS = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "conjugate": "conj",
    "expit": "sigmoid",
    "fabs": "abs",
    "gammaln": "lgamma",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "power": "pow",
    "psi": "digamma",
    "right_shift": "bitwise_right_shift",
    "rint": "round",
}
"""Elementwise functions of NumPy and SciPy that are called otherwise here."""
UFUNC_METHODS = {
    ("add", "reduce"): "sum",
    ("add", "accumulate"): "cumulative_sum",
    ("add", "at"): "scatter_add",
    ("logical_and", "reduce"): "all",
    ("logical_or", "reduce"): "any",
    ("maximum", "reduce"): "max",
    ("minimum", "reduce"): "min",
    ("multiply", "reduce"): "prod",
    ("multiply", "accumulate"): "cumulative_prod",
    ("multiply", "outer"): "outer",
}
_SAME = (
    "all", "allclose", "any", "argmax", "argmin", "argsort", "broadcast_to", "clip", "concat",
    "corrcoef", "count_nonzero", "cov", "cumulative_prod", "cumulative_sum", "diag", "diagonal",
    "diff", "digitize", "dot", "einsum", "expand_dims", "flip", "full_like", "imag", "inner",
    "isclose", "kron", "matrix_transpose", "max", "mean", "median", "min", "moveaxis", "nan_to_num",
    "nanmean", "nansum", "ones_like", "outer", "pad", "permute_dims", "prod", "quantile", "real",
    "repeat", "reshape", "roll", "rot90", "round", "searchsorted", "sinc", "sort", "squeeze",
    "stack", "std", "sum", "swapaxes", "take", "take_along_axis", "tensordot", "tile", "trace",
    "trapezoid", "tril", "triu", "var", "where", "zeros_like",
)  # fmt: skip
NAMES_HERE: dict[Any, str] = {getattr(np, name): name for name in _SAME} | {
    np.amax: "max",
    np.amin: "min",
    np.concatenate: "concat",
}
"""NumPy's functions of arrays, and what takes the same arguments here."""
_OTHERS: dict[Any, Callable[..., Any]] = {
    np.cumprod: methods.cumprod,
    np.cumsum: methods.cumsum,
    np.ndim: lambda x: x.ndim,
    np.shape: lambda x: x.shape,
    np.transpose: lambda x, axes=None: methods.transpose(x, axes),
}
_REFLECTED: dict[Any, str] = {
    np.add: "__radd__",
    np.divide: "__rtruediv__",
    np.multiply: "__rmul__",
    np.subtract: "__rsub__",
}
"""What an operator with a NumPy array or number on its left calls, as it did without this."""
_ARGUMENTS = {"ddof": "correction", "a_min": "min", "a_max": "max"}


class ArrayUfunc:
    """`__array_ufunc__` for NumPy, which asks the class; None for CuPy, which asks the value.

    None says to leave an operator to the operand on its right.
    """

    def __get__(self, value: Any, owner: Any = None) -> Any:
        return _array_ufunc if value is None else None


def _array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """The value of an elementwise function of NumPy's, by the function that is it here.

    Raises:
        SymbolicValueError: if none is.
        ArgumentError: if it is given more than operands.
    """
    reflected = _REFLECTED.get(ufunc) if method == "__call__" and not kwargs else None
    if reflected is not None and not isinstance(inputs[0], Value):
        return getattr(inputs[1], reflected)(inputs[0])
    if ufunc is np.divmod and method == "__call__" and not kwargs:
        return FUNCTIONS["floor_divide"](*inputs), FUNCTIONS["remainder"](*inputs)
    name = ufunc.__name__
    ours = UFUNCS.get(name, name)
    if method != "__call__":
        name, ours = f"{name}.{method}", UFUNC_METHODS.get((name, method), "")
    if method != "__call__" or ours not in FUNCTIONS:
        _refuse(_value_in(inputs), name, ours)
    if kwargs:
        given = ", ".join(f"{key}=" for key in kwargs)
        raise ArgumentError(
            f"numpy.{name}: takes no {given} beside {describe(_value_in(inputs))} "
            f"({location.user_line()}); call sn.{ours}, and "
            + ("bind a name to its result" if "out" in kwargs else "convert with sn.astype")
        )
    return FUNCTIONS[ours](*(x.item() if isinstance(x, np.generic) else x for x in inputs))


def _array_function(
    self: Any,
    function: Callable[..., Any],
    types: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """What a function of NumPy's for arrays gives, by the function that is it here.

    Raises:
        SymbolicValueError: if none is, and a value is a node's.
    """
    ours = _OTHERS.get(function) or FUNCTIONS.get(NAMES_HERE.get(function, ""))
    if ours is not None:
        positional, named = _translated(function, args, kwargs)
        return ours(*positional, **named)
    node = _value_in([*args, *kwargs.values()], symbolic=True)
    if node is not None:
        module = function.__module__.removeprefix("numpy").removeprefix(".")
        _refuse(node, f"{module}.{function.__name__}".lstrip("."), function.__name__)
    return function(*_as_arrays(args), **_as_arrays(dict(kwargs)))


def _translated(
    function: Any, args: Any, kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments for a function of ours: required ones by place, others by our names."""
    signature = inspect.signature(function)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            named |= value
        elif parameter.default is parameter.empty:
            positional.append(value)
        elif value is not parameter.default:
            named[_ARGUMENTS.get(name, name)] = value
    return positional, named


def _value_in(arguments: Any, symbolic: bool = False) -> Any:
    """The first Value among arguments and in their sequences, or the first node."""
    for x in arguments:
        found = _value_in(x, symbolic) if isinstance(x, tuple | list) else x
        if isinstance(found, Value) and (found.is_symbolic or not symbolic):
            return found
    return None


def _as_arrays(x: Any) -> Any:
    """Arguments with arrays for the tensors in them."""
    if isinstance(x, Value):
        return np.asarray(x)
    if isinstance(x, tuple | list):
        return type(x)(map(_as_arrays, x))
    return {key: _as_arrays(each) for key, each in x.items()} if isinstance(x, dict) else x


def _refuse(value: Any, name: str, ours: str) -> NoReturn:
    found = inspect.getattr_static(Value, ours, None) if ours in FUNCTIONS else None
    named = found.remedy.removesuffix("(x)") if isinstance(found, Elsewhere) else f"use sn.{ours}"
    remedy = named if ours in FUNCTIONS else NAMES.get(name, "")
    if not remedy:
        near = difflib.get_close_matches(name, FUNCTIONS, 1, 0.75)
        remedy = f"did you mean sn.{near[0]}? Or" if near else ""
        remedy += " convert what sn.function returns, or compute with sn.dynamic"
    raise SymbolicValueError(
        f"numpy.{name}: does not take {describe(value)} ({location.user_line()}); {remedy.strip()}"
    )


setattr(Value, "__array_ufunc__", ArrayUfunc())  # noqa: B010 (the room below stands alone)
setattr(Value, "__array_function__", _array_function)  # noqa: B010
