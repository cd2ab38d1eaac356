"""A product as cuBLASLt is told of it: numbers only, so that they can be tested without it.

cuBLASLt's matrices are column-major. A row-major matrix is its transpose there, and
result = left @ right is told as resultᵀ = rightᵀ @ leftᵀ: A is the right operand, B the left one,
M is n, N is m. The bias runs along D's rows, which are then the result's columns, as it should.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from staticnet.codegen.commands import Matrix, Product
from staticnet.ops.auxiliary import mask_bytes

# cudaDataType and cublasComputeType_t
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14, "e4m3": 28, "e5m2": 29}
COMPUTE_32F, COMPUTE_64F, COMPUTE_TF32 = 68, 70, 77
# cublasLtEpilogue_t
EPILOGUES = {
    "none": 1, "relu": 2, "bias": 4, "relu_bias": 6, "gelu": 32, "gelu_bias": 36,
    "relu_aux": 130, "relu_aux_bias": 134, "gelu_aux": 160, "gelu_aux_bias": 164,
    "drelu_bgrad": 152, "dgelu_bgrad": 208, "bgrada": 256, "bgradb": 512,
}  # fmt: skip
MAX_ALIGNMENT = 256


@dataclass(frozen=True)
class MatrixLayout:
    """A column-major matrix, or `batch` of them: element (i, j) lies at i + j * leading."""

    dtype: int
    rows: int
    columns: int
    leading: int
    batch: int = 1
    stride: int = 0


@dataclass(frozen=True)
class MatmulDescriptor:
    """D = epilogue(op(A) op(B) + bias), with op(X) = Xᵀ where `transpose_x` is 1.

    `auxiliary` is the leading dimension of what an epilogue has beside D, of bits that of bits; 0
    if there is none.
    """

    compute: int
    scale: int
    transpose_a: int
    transpose_b: int
    epilogue: int
    a: MatrixLayout
    b: MatrixLayout
    d: MatrixLayout
    auxiliary: int = 0


def describe(product: Product, tf32: bool = False) -> MatmulDescriptor:
    """The descriptor of a product, or of one of several if it has more than one batch axis."""
    name = product.dtype.name
    dtype = TYPES[name]
    axis = _strided_axis(product)
    batch = 1 if axis is None else product.batch[axis]

    def layout(matrix: Matrix, rows: int, columns: int, dtype: int = dtype) -> MatrixLayout:
        """The layout of a row-major [rows, columns] matrix, transposed or not."""
        if matrix.transposed:
            rows, columns = columns, rows
        stride = 0 if axis is None else matrix.strides[axis]
        return MatrixLayout(dtype, columns, rows, max(matrix.leading, columns), batch, stride)

    left, right = (TYPES[x] for x in product.formats or (name, name))
    compute, scale = (COMPUTE_64F, dtype) if name == "float64" else (COMPUTE_32F, TYPES["float32"])
    if tf32 and name == "float32":
        compute = COMPUTE_TF32
    return MatmulDescriptor(
        compute, scale, int(product.right.transposed), int(product.left.transposed),
        EPILOGUES[product.epilogue],
        layout(product.right, product.k, product.n, right),
        layout(product.left, product.m, product.k, left),
        layout(product.result, product.m, product.n),
        0 if product.auxiliary is None else _auxiliary_leading(product),
    )  # fmt: skip


def _auxiliary_leading(product: Product) -> int:
    bits = "relu" in product.epilogue
    return mask_bytes(product.n) * 8 if bits else product.n


def calls(product: Product) -> Iterator[tuple[int, int, int]]:
    """Bytes from the addresses of right, left and result to A, B and D, for each call of it."""
    strided = _strided_axis(product)
    others = [axis for axis in range(len(product.batch)) if axis != strided]
    itemsize = product.dtype.itemsize
    for point in itertools.product(*(range(product.batch[axis]) for axis in others)):
        right, left, result = (
            sum(i * matrix.strides[axis] for i, axis in zip(point, others, strict=True)) * itemsize
            for matrix in (product.right, product.left, product.result)
        )
        yield right, left, result


def alignment(*addresses: int) -> int:
    """The greatest power of 2, at most 256, that divides all addresses."""
    together = MAX_ALIGNMENT
    for address in addresses:
        together |= address
    return together & -together


def _strided_axis(product: Product) -> int | None:
    """The longest batch axis, which one call runs along."""
    axes = range(len(product.batch))
    return max(axes, key=lambda axis: product.batch[axis], default=None)
