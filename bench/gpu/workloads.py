"""What runs on the GPU: sizes, and builders where the CPU's do not do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench import adam_rule
from bench.gpu.networks import NETWORKS_OF_THE_GPU
from bench.kernels import CHECKS, ITEM, MIB, kernel_mode, rows, twice
from bench.program import Array, Arrays, Build, Program, Workload
from bench.training import torch_network, torch_program
from bench.workloads import adam, layer_norm, matmul, mlp, playground, pointwise, softmax

LARGE = 256 * MIB  # of one array: far out of a cache of 50 MiB
SMALL = 4 * MIB
BF16_SIDE = 8192
WARM_UP_STEPS = 3
REPLAYED = "torch.graph"  # eager, captured whole by torch.cuda.graph


def staticnet_kernel(formula: Callable[..., Any], width: int, dtype: str = "float32") -> Build:
    """`formula` of arrays on the device, as the next value of a variable."""

    def build(data: Arrays, device: str) -> Program:
        import staticnet as sn

        inputs = [sn.placeholder(a.shape, dtype, name) for name, a in data.items()]
        result = formula(*inputs)
        out = sn.variable(np.zeros(result.shape, result.dtype), "out")
        update = sn.function(inputs, [], updates={out: result}, device=device)
        hosts = [a.astype(result.dtype) for a in data.values()]
        feeds = update.specialize().executable.place(hosts)

        def read(_: Any) -> Array:
            return np.asarray(out.value, np.float32)

        return Program({"into": kernel_mode(lambda: update(*feeds), width, read)})

    return build


def kernel(base: Workload, formula: Callable[..., Any], width: int) -> Workload:
    """A kernel of the CPU's suite at two sizes, written into memory that exists."""

    def reference(data: Arrays) -> Any:
        return {"into": base.reference(data)["into"], "fresh": base.reference(data)["into"]}

    contenders = {**base.contenders, "staticnet": staticnet_kernel(formula, width)}
    return replace(base, contenders=contenders, reference=reference, sizes=(SMALL, LARGE))


def with_captured(workload: Workload, network: Any, loss_of: Any, optimizer: Any) -> Workload:
    """A training workload and one contender more; `network` is the module that describes it."""
    build = captured(network.ACTIVATIONS, network.WIDTHS, network.BATCH, loss_of, optimizer)
    return replace(workload, contenders={**workload.contenders, REPLAYED: build})


def captured(
    layers: tuple[str, ...], widths: tuple[int, ...], batch: int, loss_of: Any, optimizer: Any
) -> Build:
    """Eager PyTorch, of which a whole step is captured as one CUDA graph."""

    def build(data: Arrays, device: str) -> Program:
        import torch

        model = torch_network(layers, widths, data)
        first = [parameter.detach().clone() for parameter in model.parameters()]
        optimize = optimizer(torch, model.parameters())
        x, y = (torch.from_numpy(data[name][:batch].copy()) for name in "xy")

        def step() -> Any:
            optimize.zero_grad(set_to_none=True)
            loss = loss_of(torch.nn.functional, model(x), y)
            loss.backward()
            optimize.step()
            return loss.detach()

        replay = record(torch, step)
        _start_again(torch, model, first, optimize)
        return torch_program(Captured(replay, x, y, step), data, batch)

    return build


@dataclass(frozen=True)
class Captured:
    """A captured step that is fed by copies to where its graph reads.

    `step` has all else that the graph reads and writes: it keeps no tensor alive, and the memory of
    one that is gone is given to the next batch.
    """

    replay: Callable[[], Any]
    x: Any
    y: Any
    step: Callable[[], Any]

    def __call__(self, new_x: Any, new_y: Any) -> Any:
        """The loss of a step on a batch."""
        self.x.copy_(new_x)
        self.y.copy_(new_y)
        return self.replay().clone()


def record(torch: Any, step: Callable[[], Any]) -> Callable[[], Any]:
    """A step as a CUDA graph, recorded after three that are not. -> what replays it"""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Any:
        graph.replay()
        return result

    return replay


def _start_again(torch: Any, model: Any, first: list[Any], optimize: Any) -> None:
    """Undo what the steps before the capture have changed."""
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), first, strict=True):
            parameter.copy_(value)
        for state in optimize.state.values():
            for value in state.values():
                value.zero_()


def _adam(torch: Any, parameters: Any) -> Any:
    return torch.optim.Adam(parameters, **adam_rule.OPTIONS, fused=True, capturable=True)


def _sgd(torch: Any, parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=playground.LR, fused=True)


def bf16_data(size: int) -> dict[str, Array]:
    """a, b: [n, n], numbers that bfloat16 holds"""
    import ml_dtypes

    found = matmul.make_data(2 * size)
    return {k: a.astype(ml_dtypes.bfloat16).astype(np.float32) for k, a in found.items()}


def bf16_torch(compiled: bool) -> Build:
    """torch.mm into memory that exists."""

    def build(data: Arrays, device: str) -> Program:
        import torch

        a, b = (torch.from_numpy(x).to(torch.bfloat16) for x in data.values())
        out = torch.empty_like(a)

        def multiply(out: Any, a: Any, b: Any) -> None:
            torch.mm(a, b, out=out)

        act = torch.compile(multiply, fullgraph=True, dynamic=False) if compiled else multiply

        def call() -> Any:
            with torch.no_grad():
                act(out, a, b)
            return out

        return Program({"into": kernel_mode(call, 0, lambda x: np.asarray(x.float()))})

    return build


def bf16_jax(data: Arrays, device: str) -> Program:
    """One jitted product."""
    import jax
    import jax.numpy as jnp

    a, b = (jax.device_put(x).astype(jnp.bfloat16) for x in data.values())
    multiply = jax.jit(jnp.matmul)

    def call() -> Any:
        return jax.block_until_ready(multiply(a, b))

    return Program({"into": kernel_mode(call, 0, lambda x: np.asarray(x.astype(jnp.float32)))})


def bf16_reference(data: Arrays) -> Any:
    """Some rows of the product in float64."""
    a, b = (x.astype(np.float64) for x in data.values())
    return {"into": twice(rows(a, len(a)) @ b)}


def bf16_side(size: int) -> int:
    """n of an [n, n] matrix of `size` bytes in bfloat16."""
    return math.isqrt(size // 2)


MATMUL_BF16 = Workload(
    name="matmul_bf16",
    about="square matrix product in bfloat16",
    make_data=bf16_data,
    reference=bf16_reference,
    contenders={
        "staticnet": staticnet_kernel(lambda a, b: a @ b, 0, "bfloat16"),
        "torch": bf16_torch(False),
        "torch.compile": bf16_torch(True),
        "jax": bf16_jax,
    },
    rtol=2e-2,
    atol=2e-2,
    check_steps=CHECKS,
    sizes=(2 * BF16_SIDE**2,),
    bytes_moved=lambda size: 3 * size,
    flops=lambda size: 2 * bf16_side(size) ** 3,
)
WORKLOADS = {
    w.name: w
    for w in (
        with_captured(playground.PLAYGROUND, playground, lambda f, z, y: f.mse_loss(z, y), _sgd),
        with_captured(mlp.MLP, mlp, lambda f, z, y: f.cross_entropy(z, y), _adam),
        kernel(pointwise.POINTWISE, pointwise.staticnet, pointwise.WIDTH),
        kernel(softmax.SOFTMAX, softmax.staticnet, 1024),
        kernel(layer_norm.LAYER_NORM, layer_norm.staticnet, 1024),
        replace(adam.ADAM, sizes=(SMALL, LARGE)),
        replace(
            matmul.MATMUL,
            contenders={
                **matmul.MATMUL.contenders,
                "staticnet": staticnet_kernel(matmul.staticnet, 0),
            },
            sizes=(4096**2 * ITEM,),
            atol=1e-3,
        ),
        MATMUL_BF16,
        *(each.workload() for each in NETWORKS_OF_THE_GPU),
    )
}
