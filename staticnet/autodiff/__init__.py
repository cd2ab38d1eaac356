"""Symbolic derivatives: reverse mode (`grad`, `vjp`) and forward mode (`jvp`)."""

from staticnet.autodiff.forward import jvp
from staticnet.autodiff.reverse import grad, vjp

__all__ = ["grad", "jvp", "vjp"]
