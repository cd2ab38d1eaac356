"""One model executed dynamically and compiled, pass by pass: the same losses, then the times."""

from staticnet.compare.comparison import Comparison
from staticnet.compare.peers import Peer
from staticnet.compare.run import compare
from staticnet.compare.steps import Steps

__all__ = ["Comparison", "Peer", "Steps", "compare"]
