"""The workloads by name. A new one is one file and one line here."""

from bench.workloads.adam import ADAM
from bench.workloads.char_gpt import CHAR_GPT
from bench.workloads.char_lstm import CHAR_LSTM
from bench.workloads.cifar import CIFAR_BN, CIFAR_LENET, RESNET18
from bench.workloads.layer_norm import LAYER_NORM
from bench.workloads.matmul import MATMUL
from bench.workloads.mlp import MLP
from bench.workloads.playground import PLAYGROUND
from bench.workloads.pointwise import POINTWISE
from bench.workloads.softmax import SOFTMAX

NETWORKS = (PLAYGROUND, MLP, CIFAR_LENET, CIFAR_BN, RESNET18, CHAR_LSTM, CHAR_GPT)
KERNELS = (POINTWISE, SOFTMAX, LAYER_NORM, ADAM, MATMUL)
WORKLOADS = {w.name: w for w in (*NETWORKS, *KERNELS)}
SUITES = {"cpu": tuple(WORKLOADS)}
