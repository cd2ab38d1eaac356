"""Functions of values: activations, linear maps, dropout, losses."""

from typing import TYPE_CHECKING

from staticnet.ir.hints import NAMES, lookup
from staticnet.nn.functional.activation import (
    elu,
    gelu,
    hardtanh,
    leaky_relu,
    log_softmax,
    mish,
    selu,
    silu,
    softmax,
    softplus,
)
from staticnet.nn.functional.classification import cross_entropy, nll_loss
from staticnet.nn.functional.dropout import dropout
from staticnet.nn.functional.linear import linear
from staticnet.nn.functional.loss import (
    binary_cross_entropy_with_logits,
    hinge_embedding_loss,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
)
from staticnet.nn.functional.padding import pad
from staticnet.nn.functional.recurrent import gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell
from staticnet.ops.selection import relu
from staticnet.ops.transcendental import sigmoid, tanh

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "gru_cell",
    "hardtanh",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "lstm_cell",
    "mish",
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "rnn_relu_cell",
    "rnn_tanh_cell",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]

if not TYPE_CHECKING:
    __getattr__ = lookup(__name__, __all__, NAMES)
