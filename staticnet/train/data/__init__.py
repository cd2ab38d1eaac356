"""Where examples come from: arrays in memory or mapped, files, and whatever gives batches."""

from staticnet.train.data.arrays import ArraySource
from staticnet.train.data.batches import BatchSource
from staticnet.train.data.files import Table, Text, npy
from staticnet.train.data.images import ImageFolder
from staticnet.train.data.source import Epoch, Layout, Plan, Source
from staticnet.train.data.sources import as_source, inputs_only

__all__ = [
    "ArraySource",
    "BatchSource",
    "Epoch",
    "ImageFolder",
    "Layout",
    "Plan",
    "Source",
    "Table",
    "Text",
    "as_source",
    "inputs_only",
    "npy",
]
