"""staticnet: a static-graph deep-learning compiler.

Declare a symbolic graph, derive its gradient, compile the whole training step, run it.
"""

from math import e, inf, nan, pi
from typing import TYPE_CHECKING

from staticnet import dynamic, errors, nn, optim, passes
from staticnet.autodiff import grad, jvp, vjp
from staticnet.compare import compare
from staticnet.compilation import PIPELINE
from staticnet.control.cond import cond
from staticnet.control.derivatives import hessian, jacobian, linearize, value_and_grad
from staticnet.control.scan import map, scan
from staticnet.control.vmap import vmap
from staticnet.control.while_loop import fori_loop, while_loop
from staticnet.function import Function, function
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BFLOAT16 as bfloat16
from staticnet.ir.dtype import BOOL as bool
from staticnet.ir.dtype import FLOAT16 as float16
from staticnet.ir.dtype import FLOAT32 as float32
from staticnet.ir.dtype import FLOAT64 as float64
from staticnet.ir.dtype import INT8 as int8
from staticnet.ir.dtype import INT16 as int16
from staticnet.ir.dtype import INT32 as int32
from staticnet.ir.dtype import INT64 as int64
from staticnet.ir.dtype import UINT8 as uint8
from staticnet.ir.dtype import UINT16 as uint16
from staticnet.ir.dtype import UINT32 as uint32
from staticnet.ir.dtype import UINT64 as uint64
from staticnet.ir.graph import Graph
from staticnet.ir.hints import NAMES, lookup
from staticnet.ir.text import parse
from staticnet.ir.types import TensorType
from staticnet.nn.seed import manual_seed
from staticnet.ops import random
from staticnet.ops.arithmetic import (
    abs,
    add,
    atan2,
    ceil,
    conj,
    copysign,
    divide,
    floor,
    floor_divide,
    hypot,
    imag,
    logaddexp,
    maximum,
    minimum,
    multiply,
    negative,
    nextafter,
    positive,
    pow,
    real,
    reciprocal,
    remainder,
    round,
    sign,
    square,
    subtract,
    trunc,
)
from staticnet.ops.base import Elementwise, Reduction, constant
from staticnet.ops.base import TensorOp as Op
from staticnet.ops.comparison import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    signbit,
)
from staticnet.ops.creation import (
    arange,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    linspace,
    one_hot,
    ones,
    ones_like,
    tril,
    triu,
    zeros,
    zeros_like,
)
from staticnet.ops.custom import custom_op
from staticnet.ops.data_type import can_cast, finfo, iinfo, isdtype, result_type
from staticnet.ops.getitem import gather
from staticnet.ops.indexing import (
    scatter_add,
    scatter_add_along_axis,
    take,
    take_along_axis,
)
from staticnet.ops.linalg import (
    einsum,
    matmul,
    outer,
    tensordot,
    vecdot,
)
from staticnet.ops.movement import (
    concat,
    flip,
    matrix_transpose,
    moveaxis,
    pad,
    permute_dims,
    roll,
    split,
    stack,
    swapaxes,
    unstack,
)
from staticnet.ops.reduction import (
    all,
    any,
    argmax,
    argmin,
    count_nonzero,
    cumulative_prod,
    cumulative_sum,
    diff,
    logsumexp,
    max,
    mean,
    min,
    prod,
    std,
    var,
)
from staticnet.ops.selection import (
    astype,
    clip,
    relu,
    stop_gradient,
    where,
)
from staticnet.ops.shape import (
    broadcast_arrays,
    broadcast_to,
    expand_dims,
    flatten,
    reshape,
    squeeze,
    sum,
)
from staticnet.ops.sorting import (
    argsort,
    searchsorted,
    sort,
    top_k,
)
from staticnet.ops.state import Variable, placeholder, variable
from staticnet.ops.tiling import meshgrid, repeat, tile
from staticnet.ops.transcendental import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    cos,
    cosh,
    erf,
    exp,
    expm1,
    log,
    log1p,
    log2,
    log10,
    rsqrt,
    sigmoid,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)
from staticnet.passes.manager import Pass
from staticnet.passes.rules import rules_pass
from staticnet.report.summary import graph_summary as _graph_summary
from staticnet.rules import check_rule, rule

__version__ = "0.1.0"
newaxis = None
Graph.draw = _graph_summary

__all__ = [
    "PIPELINE",
    "Dim",
    "Elementwise",
    "Function",
    "Graph",
    "Op",
    "Pass",
    "Reduction",
    "TensorType",
    "Variable",
    "abs",
    "acos",
    "acosh",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "bfloat16",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool",
    "broadcast_arrays",
    "broadcast_to",
    "can_cast",
    "ceil",
    "check_rule",
    "clip",
    "compare",
    "concat",
    "cond",
    "conj",
    "constant",
    "copysign",
    "cos",
    "cosh",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "custom_op",
    "diff",
    "divide",
    "dynamic",
    "e",
    "einsum",
    "empty",
    "empty_like",
    "equal",
    "erf",
    "errors",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "finfo",
    "flatten",
    "flip",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "fori_loop",
    "full",
    "full_like",
    "function",
    "gather",
    "grad",
    "greater",
    "greater_equal",
    "hessian",
    "hypot",
    "iinfo",
    "imag",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "isfinite",
    "isinf",
    "isnan",
    "jacobian",
    "jvp",
    "less",
    "less_equal",
    "linearize",
    "linspace",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "manual_seed",
    "map",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "meshgrid",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "nan",
    "negative",
    "newaxis",
    "nextafter",
    "nn",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "optim",
    "outer",
    "pad",
    "parse",
    "passes",
    "permute_dims",
    "pi",
    "placeholder",
    "positive",
    "pow",
    "prod",
    "random",
    "real",
    "reciprocal",
    "relu",
    "remainder",
    "repeat",
    "reshape",
    "result_type",
    "roll",
    "round",
    "rsqrt",
    "rule",
    "rules_pass",
    "scan",
    "scatter_add",
    "scatter_add_along_axis",
    "searchsorted",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "stop_gradient",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensordot",
    "tile",
    "top_k",
    "tril",
    "triu",
    "trunc",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "unstack",
    "value_and_grad",
    "var",
    "variable",
    "vecdot",
    "vjp",
    "vmap",
    "where",
    "while_loop",
    "zeros",
    "zeros_like",
]

if not TYPE_CHECKING:
    __getattr__ = lookup(
        __name__,
        __all__,
        NAMES
        | {name: f"it is sn.dynamic.{name}" for name in dynamic.__all__}
        | {name: f"it is sn.nn.{name}" for name in nn.__all__}
        | {name: f"it is sn.optim.{name}" for name in optim.__all__},
    )
