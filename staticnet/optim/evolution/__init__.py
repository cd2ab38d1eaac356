"""Minimisation without gradients: populations that are drawn, ranked and learned from."""

from staticnet.optim.evolution.cmaes import CMAES
from staticnet.optim.evolution.differential import DE
from staticnet.optim.evolution.mirrored import PGPE, OpenES
from staticnet.optim.evolution.search import Search

__all__ = ["CMAES", "DE", "PGPE", "OpenES", "Search"]
