"""The device code's files: in the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from staticnet.errors import StateError

PACKAGE = Path(__file__).resolve().parents[1]
SCALARS = ("math.h", "special.h", "integers.h", "philox.h", "float16.h", "float8.h")
"""What C and CUDA share, in order."""


def kernels_path() -> Path:
    """The folder of the device code.

    It is looked for next to this package, never in the working directory: a wheel used from a
    checkout's root and the checkout itself each find their own files.

    Raises:
        StateError: if the installation lacks it.
    """
    for folder in (PACKAGE / "kernels", PACKAGE.parent / "kernels"):
        if (folder / "__init__.py").is_file():
            return folder
    raise StateError(f"no kernels/ in or beside {PACKAGE}; install staticnet again")


def kernel_text(*names: str) -> str:
    """These files of the device code, one after the other.

    Raises:
        StateError: if the installation lacks them.
    """
    folder = kernels_path()
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)
