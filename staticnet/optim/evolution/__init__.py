"""Minimisation without gradients: populations that are drawn, ranked and learned from."""

from staticnet.optim.evolution.cmaes import CMAES
from staticnet.optim.evolution.search import Search

__all__ = ["CMAES", "Search"]
