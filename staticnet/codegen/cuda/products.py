"""Products of matrices, as a library is told of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from staticnet.codegen.commands import FACTOR_BYTES, Address, Matrix, Product
from staticnet.codegen.cuda.call import Locate
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.auxiliary import AuxiliaryProduct, MatmulAuxiliary
from staticnet.ops.float8 import Float8Matmul
from staticnet.ops.library import MatmulEpilogue
from staticnet.plan.layouts import matrix_layout
from staticnet.plan.results import results_of

FLOAT8_NAMES = ("e4m3", "e5m2")


def describe_product(
    node: Node, locate: Locate, in_memory: Callable[[Node], bool], step: int
) -> Product:
    """The product of a node whose role is the library's; its sizes may be 0."""
    if isinstance(node.op, Float8Matmul):
        return _of_float8(node, node.op, locate, in_memory, step)
    first, *beside = results_of(node)
    shape = fixed(first.shape)
    left, right = (_matrix(x, shape, locate, in_memory) for x in node.inputs[:2])
    epilogue, bias, auxiliary = _epilogue(
        node, [locate(x) for x in node.inputs[2:]], [locate(x) for x in beside]
    )
    batch, (m, n) = shape[:-2], shape[-2:]
    result = Matrix(locate(first), False, max(1, n), _contiguous(batch, m * n))
    k = fixed(node.inputs[0].shape)[-1]
    product = Product(
        node, first.dtype, m, n, k, batch, left, right, result, step, epilogue, bias, auxiliary
    )  # fmt: skip
    return _merged(product)


def _of_float8(
    node: Node, op: Float8Matmul, locate: Locate, in_memory: Callable[[Node], bool], step: int
) -> Product:
    """A product of 8-bit operands: rows of the right one are columns of what it stands for."""
    m, n = fixed(node.shape)
    left, right = (_matrix(x, (m, n), locate, in_memory) for x in node.inputs[:2])
    a, b = (
        locate(x).further(at * FACTOR_BYTES)
        for x, at in zip(node.inputs[2:4], (op.left, op.right), strict=True)
    )
    formats = FLOAT8_NAMES[op.left_e5m2], FLOAT8_NAMES[op.right_e5m2]
    result = Matrix(locate(node), False, max(1, n), ())
    k = fixed(node.inputs[0].shape)[-1]
    return Product(
        node, node.dtype, m, n, k, (), left, replace(right, transposed=True), result, step,
        "bias" if node.inputs[4:] else "none", next(map(locate, node.inputs[4:]), None),
        formats=formats, factors=(a, b),
    )  # fmt: skip


def _epilogue(
    node: Node, given: Sequence[Address], beside: Sequence[Address]
) -> tuple[str, Address | None, Address | None]:
    """The epilogue of a product, its bias, and what is auxiliary.

    given: its operands behind the matrices; beside: its results behind the product
    """
    op, third, second = node.op, next(iter(given), None), next(iter(beside), None)
    if not isinstance(op, MatmulEpilogue | AuxiliaryProduct):
        return "none", None, None
    # a gradient's second result is the bias' one, and a third operand what the activation left
    is_gradient = not isinstance(op, MatmulEpilogue | MatmulAuxiliary)
    bias, auxiliary = (second, third) if is_gradient else (third, second)
    return op.epilogue(len(node.inputs)), bias, auxiliary


def by_library(product: Product) -> bool:
    """Whether a library computes it: a product of floats that sums something."""
    return is_floating(product.dtype) and product.k > 0


def _contiguous(shape: tuple[int, ...], stride: int) -> tuple[int, ...]:
    strides = []
    for n in reversed(shape):
        strides.append(stride if n > 1 else 0)
        stride *= n
    return tuple(reversed(strides))


def _matrix(
    x: Node, shape: tuple[int, ...], locate: Locate, in_memory: Callable[[Node], bool]
) -> Matrix:
    own = fixed(x.shape)
    extra = len(shape) - len(own)
    if in_memory(x):
        strides = _contiguous(own[:-2], own[-1] * own[-2])
        return Matrix(locate(x), False, max(1, own[-1]), (0,) * extra + strides)
    layout = matrix_layout(x)
    assert layout is not None, x
    below, first, transposed, leading = layout
    address = locate(below)
    steps = {symbol.text: coefficient for symbol, coefficient in first.terms}
    return Matrix(
        address.further(first.constant * x.dtype.itemsize),
        transposed,
        max(1, leading),
        (0,) * extra + tuple(steps.get(f"i{axis}", 0) for axis in range(len(own) - 2)),
    )


def _merged(product: Product) -> Product:
    """The product with as few batch axes as strides can tell; none for a single matrix."""
    matrices = (product.left, product.right, product.result)
    sizes: list[int] = []
    strides: list[tuple[int, ...]] = []
    for axis, size in enumerate(product.batch):
        here = tuple(x.strides[axis] for x in matrices)
        if size == 1:
            continue
        if sizes and all(a == b * size for a, b in zip(strides[-1], here, strict=True)):
            sizes[-1] *= size
            strides[-1] = here
        else:
            sizes.append(size)
            strides.append(here)
    left, right, result = (
        replace(x, strides=tuple(s[i] for s in strides)) for i, x in enumerate(matrices)
    )
    merged = replace(product, batch=tuple(sizes), left=left, right=right, result=result)
    return _stacked(merged)


def _stacked(product: Product) -> Product:
    """One tall product for many that share the right matrix, where the left ones lie stacked."""
    left, right, result = product.left, product.right, product.result
    if len(product.batch) != 1 or left.transposed or right.strides != (0,):
        return product
    (size,) = product.batch
    if left.strides != (product.m * left.leading,) or result.strides != (
        product.m * result.leading,
    ):
        return product
    left, right, result = (replace(x, strides=()) for x in (left, right, result))
    return replace(
        product, m=product.m * size, batch=(), left=left, right=right, result=result
    )  # fmt: skip


def elements(product: Product) -> int:
    """Elements of the result."""
    return math.prod(product.batch) * product.m * product.n
