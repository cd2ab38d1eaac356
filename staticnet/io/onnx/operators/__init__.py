"""Operators by family: importing this room fills the table."""

from importlib import import_module
from pkgutil import iter_modules

FAMILIES = tuple(import_module(f"{__name__}.{family.name}") for family in iter_modules(__path__))
