"""Where the device code lies: in the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

import staticnet
from staticnet.errors import StateError


def path() -> Path:
    """The folder of the device code.

    It is looked for next to the `staticnet` that was imported, never in the working directory: a
    wheel used from a checkout's root and the checkout itself each find their own files.

    Raises:
        StateError: if the installation lacks it.
    """
    package = Path(staticnet.__file__).resolve().parent
    for folder in (package / "kernels", package.parent / "kernels"):
        if (folder / "__init__.py").is_file():
            return folder
    raise StateError(f"no kernels/ in or beside {package}; install staticnet again")
