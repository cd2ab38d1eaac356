"""What a message says to do: names that other libraries have, near misses, and what to install."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from staticnet.errors import ArgumentError, MissingNameError

ARGUMENTS = {
    "dim": "axis", "dims": "axis", "keepdim": "keepdims", "other": "y", "input": "x",
    "in_dims": "in_axes", "out_dims": "out_axes", "ddof": "correction",
}  # fmt: skip
"""PyTorch's and NumPy's names of arguments, and the array API standard's."""
_IDLE = {"inplace": "leave it out: no value ever changes"}
_NAMES = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "argwhere": "dynamic.nonzero",
    "array": "constant or variable",
    "aminmax": "min and sn.max",
    "atleast_1d": "reshape",
    "atleast_2d": "reshape",
    "atleast_3d": "reshape",
    "block": "concat",
    "bmm": "matmul",
    "bucketize": "searchsorted(boundaries, x)",
    "cat": "concat",
    "cbrt": "sign(x) * sn.abs(x) ** (1 / 3)",
    "chunk": "split",
    "clamp": "clip",
    "column_stack": "stack(xs, axis=1)",
    "compile": "function",
    "concatenate": "concat",
    "convolve": "nn.functional.conv1d",
    "correlate": "nn.functional.conv1d",
    "cumprod": "cumulative_prod",
    "cumsum": "cumulative_sum",
    "dstack": "stack(xs, axis=-1) or sn.concat(xs, axis=2)",
    "expand": "broadcast_to",
    "fliplr": "flip(x, axis=1)",
    "flipud": "flip(x, axis=0)",
    "float_power": "pow(x.astype('float64'), y)",
    "ger": "outer",
    "hstack": "concat(xs, axis=-1)",
    "jit": "function",
    "kthvalue": "sort(x)[..., k - 1]",
    "ldexp": "exp2(i) * x",
    "load": "io.safetensors.load",
    "masked_select": "where(mask, x, value)",
    "mm": "matmul",
    "movedim": "moveaxis",
    "mv": "matmul",
    "Parameter": "variable",
    "permute": "permute_dims",
    "jacrev": "jacobian",
    "jacfwd": "jacobian",
    "grad_and_value": "value_and_grad",
    "vectorize": "vmap",
    "power": "pow",
    "rand": "random.uniform",
    "randint": "random.randint",
    "randn": "random.normal",
    "row_stack": "concat",
    "select": "where",
    "save": "io.safetensors.save",
    "swapdims": "swapaxes",
    "Tensor": "placeholder, constant or variable, and sn.dynamic.tensor",
    "topk": "top_k",
    "transpose": "permute_dims, matrix_transpose or swapaxes",
    "unbind": "unstack",
    "unique": "dynamic.unique_values",
    "unsqueeze": "expand_dims",
    "vdot": "dot(x.reshape(-1), y.reshape(-1))",
    "view": "reshape",
    "vstack": "concat",
}
NAMES = {theirs: f"use sn.{ours}" for theirs, ours in _NAMES.items()}
"""Names of PyTorch, NumPy and JAX, and what they are here."""
_RUN = "a node has no value until sn.function runs; sn.dynamic computes at once"
METHODS = {
    **NAMES,
    "numpy": _RUN,
    "item": _RUN,
    "tolist": _RUN,
    "data": _RUN,
    "detach": "use sn.stop_gradient(x)",
    "backward": "use sn.grad(loss, variables), or compute with sn.dynamic",
    "size": "x.shape has the lengths",
    "dim": "x.ndim is the number of axes",
    "to": "use x.astype(dtype); a function runs on its device",
    "bool": "use x.astype('bool')",
    "double": "use x.astype('float64')",
    "float": "use x.astype('float32')",
    "half": "use x.astype('float16')",
    "int": "use x.astype('int32')",
    "long": "use x.astype('int64')",
    "clone": "leave it out: nothing changes a value",
    "contiguous": "leave it out: every value is",
    "copy": "leave it out: nothing changes a value",
    "cuda": "a function runs on its device: sn.function(..., device='cuda')",
    "cpu": "a function runs on its device: sn.function(..., device='cpu')",
}
"""Methods of PyTorch's tensors and NumPy's arrays, and what to use for them."""


def install(extra: str) -> str:
    """The command that installs an extra: staticnet comes as a clone, not from an index."""
    return f'run: pip install -e ".[{extra}]" (in the clone of staticnet)'


def missing_name(
    owner: str, name: str, known: Iterable[str], hints: Mapping[str, str] | None = None
) -> MissingNameError:
    """The error of an attribute that is not there; says what is, if it is known or near."""
    remedy = (hints or {}).get(name, "")
    if not remedy:
        public = [each for each in known if not each.startswith("_")]
        public.sort(key=lambda each: each[:1].isupper() == name[:1].isupper())
        by_lower = {each.lower(): each for each in public}  # Relu is rather ReLU than relu
        near = difflib.get_close_matches(name.lower(), by_lower, 1, 0.75)
        remedy = f"did you mean {by_lower[near[0]]}?" if near else ""
    return MissingNameError(f"{owner} has no {name!r}{'; ' + remedy if remedy else ''}")


def raise_own(owner: Any, name: str) -> None:
    """Raise the error of a property that `__getattr__` was asked for: it does not lack it."""
    holders = [cls for cls in type(owner).__mro__ if name in vars(cls)]
    found: Any = vars(holders[0])[name] if holders else None
    if hasattr(type(found), "__get__"):
        found.__get__(owner, type(owner))


def lookup(
    module: str,
    names: Iterable[str],
    hints: Mapping[str, str] | Callable[[], Mapping[str, str]],
    late: Mapping[str, str] | None = None,
) -> Callable[[str], Any]:
    """The `__getattr__` of a module, for names that it does not have.

    Those that come `late` are imported when they are asked for: a name's value is the module that
    it would be of, or what that has by this name.
    """
    known, coming = list(names), late or {}

    def find(name: str) -> Any:
        if name in coming:
            value = importlib.import_module(coming[name])
            value = getattr(value, name) if coming[name].rpartition(".")[2] != name else value
            setattr(sys.modules[module], name, value)
            return value
        if name.startswith("_"):
            raise MissingNameError(f"module {module!r} has no attribute {name!r}")
        raise missing_name(module, name, known, hints() if callable(hints) else hints)

    return find


def check_call(what: str, function: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
    """Raise ArgumentError if arguments do not fit a signature: says which, and what there is."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        names = [name for name in signature.parameters if name != "self"]
        for name in kwargs:
            if name not in names:
                ours = ARGUMENTS.get(name) or ("dim" if name == "axis" else None)
                near = difflib.get_close_matches(name, names, 1, 0.75)
                near = [ours] if ours in names else near
                remedy = f"it is called {near[0]}" if near else f"there are {', '.join(names)}"
                remedy = _IDLE.get(name, remedy)
                raise ArgumentError(f"{what}: there is no argument {name!r}; {remedy}") from None
        own = [p for name, p in signature.parameters.items() if name != "self"]
        shown = signature.replace(parameters=own)
        raise ArgumentError(f"{what}: {error}; its arguments are {shown}") from None
