"""What goes with layers: sequences of several lengths."""

from typing import TYPE_CHECKING

from staticnet.ir.hints import NAMES, lookup
from staticnet.nn.utils import rnn

__all__ = ["rnn"]

if not TYPE_CHECKING:
    __getattr__ = lookup(__name__, __all__, NAMES)
