"""What happens around training: checkpoints, early stopping, logs, a bar, a search for a rate."""

from staticnet.train.callbacks.base import HOOKS, Callback
from staticnet.train.callbacks.progress import ProgressBar
from staticnet.train.callbacks.rates import LearningRateFinder
from staticnet.train.callbacks.saving import Checkpoint, CSVLogger
from staticnet.train.callbacks.stopping import EarlyStopping
from staticnet.train.callbacks.tensorboard import TensorBoard

__all__ = [
    "HOOKS",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "LearningRateFinder",
    "ProgressBar",
    "TensorBoard",
]
