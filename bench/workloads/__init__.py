"""The workloads by name. A new one is one file and one line here."""

from bench.workloads.adam import ADAM
from bench.workloads.layer_norm import LAYER_NORM
from bench.workloads.matmul import MATMUL
from bench.workloads.mlp import MLP
from bench.workloads.playground import PLAYGROUND
from bench.workloads.pointwise import POINTWISE
from bench.workloads.softmax import SOFTMAX

WORKLOADS = {w.name: w for w in (PLAYGROUND, MLP, POINTWISE, SOFTMAX, LAYER_NORM, ADAM, MATMUL)}
SUITES = {"cpu": tuple(WORKLOADS)}
