"""Optional dependencies: looked for before the work starts, named with their remedy."""

from __future__ import annotations

import importlib.util

from staticnet.errors import DependencyError
from staticnet.ir.hints import install

DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def require(*modules: str, extra: str) -> None:
    """Check that modules can be imported, without importing them.

    Raises:
        DependencyError: naming the ones that are missing and the command that installs them.
    """
    missing = [
        DISTRIBUTIONS.get(name, name) for name in modules if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise DependencyError(f"{' and '.join(missing)} not found; {install(extra)}")
