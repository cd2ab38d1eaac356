"""The table of tolerances: what two correct implementations may differ by."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.ir.dtype import is_floating

# by dtype: what two correct implementations of one op may differ by, relative to the result's scale
RTOL = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 2e-6, "float64": 1e-13}


def close(got: Any, wanted: Any, rtol: float | None = None, name: str = "") -> None:
    """Fails unless dtype, shape and values agree; integers must be equal."""
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), name
    if not is_floating(wanted.dtype):
        np.testing.assert_array_equal(got, wanted, err_msg=name)
        return
    tolerance = RTOL[wanted.dtype.name] if rtol is None else rtol
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    scale = np.max(np.abs(b), initial=1e-30, where=np.isfinite(b))
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=name)
