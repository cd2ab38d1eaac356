"""Linear algebra: the array API standard's extension `linalg`, and more of NumPy's and PyTorch's.

Matrices are the last two axes, float32 or float64; leading axes are a batch, which may be symbolic.
On the CPU they are LAPACK's, on CUDA kernels of a block a matrix. A matrix for which there is no
answer, as a singular one to `solve`, raises LinAlgError when it runs, and nothing is updated.
"""

from typing import TYPE_CHECKING

from staticnet.errors import LinAlgError
from staticnet.ir.hints import lookup
from staticnet.linalg.decompositions import (
    EighResult,
    QRResult,
    SVDResult,
    cholesky,
    eigh,
    eigvalsh,
    matrix_rank,
    pinv,
    qr,
    svd,
    svdvals,
)
from staticnet.linalg.diagonals import cross, diagonal, trace
from staticnet.linalg.norms import cond, matrix_norm, norm, vector_norm
from staticnet.linalg.systems import (
    SlogdetResult,
    det,
    inv,
    matrix_power,
    slogdet,
    solve,
    solve_triangular,
)
from staticnet.ops.linalg import matmul, outer, tensordot, vecdot
from staticnet.ops.movement import matrix_transpose

__all__ = [
    "EighResult",
    "LinAlgError",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

_HINTS = {
    "cholesky_solve": "use sn.linalg.solve_triangular twice",
    "eig": "its results are complex, of which there are none; use sn.linalg.eigh if x is symmetric",
    "eigvals": "its results are complex, of which there are none; use sn.linalg.eigvalsh",
    "lstsq": "use sn.linalg.pinv(a) @ b",
    "lu_factor": "use sn.linalg.solve, which factorises a matrix once for all its right sides",
    "multi_dot": "use sn.einsum, which chooses the order of products",
}
if not TYPE_CHECKING:  # mypy should complain of names that are not there
    __getattr__ = lookup(__name__, __all__, _HINTS)
