"""Networks of images: one description, the same weights and steps in each library."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.images import images
from bench.program import Array, Arrays, Program, Workload
from bench.training import batches, jax_program, staticnet_program, torch_descent, torch_program
from staticnet.cli.networks import NETWORKS, Layer, Layers, network

SMALL = 8  # examples of a batch in a quick run
EPSILON = 1e-5
MOMENTUM = 0.1  # of running statistics


def labelled(layers: Layers, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """All layers with PyTorch's names for them."""
    for i, layer in enumerate(layers):
        if isinstance(layer, Layer):
            yield f"{prefix}{i}", layer
        else:
            yield from labelled(layer.body, f"{prefix}{i}.body.")
            yield from labelled(layer.shortcut, f"{prefix}{i}.shortcut.")


def weight_shapes(layers: Layers) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights by name."""
    found: dict[str, tuple[int, ...]] = {}
    for name, layer in labelled(layers):
        if layer.kind == "BatchNorm2d":
            found |= {f"{name}.weight": layer.arguments, f"{name}.bias": layer.arguments}
        elif layer.kind in ("Conv2d", "Linear"):
            n, m, *kernel = layer.arguments
            found[f"{name}.weight"] = (m, n, *kernel, *kernel)
            if layer.options.get("bias", True):
                found[f"{name}.bias"] = (m,)
    return found


def draw(layers: Layers) -> dict[str, Array]:
    """The weights by name, uniform within 1 / sqrt(inputs); norms start at 1 and 0."""
    rng = np.random.default_rng(8)
    shapes = weight_shapes(layers)
    made: dict[str, Array] = {}
    for name, shape in shapes.items():
        weight = shapes[f"{name.rpartition('.')[0]}.weight"]
        if len(weight) == 1:
            made[name] = np.full(shape, name.endswith("weight"), np.float32)
        else:
            bound = 1 / np.sqrt(np.prod(weight[1:]))
            made[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
    return made


def applied(
    layers: Layers, p: Mapping[str, Any], x: Any, kept: dict[str, Any], at: str = ""
) -> Any:
    """The network in JAX; `kept` takes the next running statistics.  x: [n, c, h, w]"""
    import jax

    for i, layer in enumerate(layers):
        name = f"{at}{i}"
        if isinstance(layer, Layer):
            x = _applied(layer, name, p, x, kept)
        else:
            through = applied(layer.body, p, x, kept, f"{name}.body.")
            x = jax.nn.relu(through + applied(layer.shortcut, p, x, kept, f"{name}.shortcut."))
    return x


def _applied(layer: Layer, name: str, p: Mapping[str, Any], x: Any, kept: dict[str, Any]) -> Any:
    import jax
    import jax.numpy as jnp

    match layer.kind:
        case "Conv2d":
            stride, pad = (layer.options.get(key, d) for key, d in (("stride", 1), ("padding", 0)))
            w = p[f"{name}.weight"]
            y = jax.lax.conv_general_dilated(x, w, (stride,) * 2, ((pad, pad),) * 2)
            bias = p.get(f"{name}.bias")
            return y if bias is None else y + bias[:, None, None]
        case "BatchNorm2d":
            mean, variance = jnp.mean(x, (0, 2, 3)), jnp.var(x, (0, 2, 3))
            count = x.size // x.shape[1]
            found = {"mean": mean, "var": variance * count / (count - 1)}
            for key, value in found.items():
                old = p[f"{name}.running_{key}"]
                kept[f"{name}.running_{key}"] = old + MOMENTUM * (value - old)
            scale = p[f"{name}.weight"] * jax.lax.rsqrt(variance + EPSILON)
            centred = (x - mean[:, None, None]) * scale[:, None, None]
            return centred + p[f"{name}.bias"][:, None, None]
        case "ReLU":
            return jax.nn.relu(x)
        case "MaxPool2d":
            window = (1, 1, *layer.arguments * 2)
            return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        case "AdaptiveAvgPool2d":
            return jnp.mean(x, (2, 3), keepdims=True)
        case "Flatten":
            return x.reshape(len(x), -1)
        case "Linear":
            return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
    raise ValueError(f"no layer of the kind {layer.kind}")


@dataclass(frozen=True)
class ImageNetwork:
    """A network that learns images by SGD with momentum; its reference is PyTorch in float64.

    An epoch has `steps` batches, all of which are checked. The size of a quick run is its examples.
    """

    name: str
    batch: int
    steps: int
    options: dict[str, float]

    @property
    def layers(self) -> Layers:
        """The description of the network."""
        return NETWORKS[self.name]

    def make_data(self, size: int) -> dict[str, Array]:
        """Images, and weights by their names in both libraries."""
        return images(size or self.steps * self.batch) | draw(self.layers)

    def size_of(self, data: Arrays) -> int:
        """The examples of a batch."""
        return len(data["x"]) // self.steps

    def model(self, nn: Any, data: Arrays, convert: Callable[[Array], Any]) -> Any:
        """The network of a library's layers, with the weights."""
        model = network(nn, self.layers)
        weights = {name: convert(data[name]) for name in weight_shapes(self.layers)}
        model.load_state_dict(weights, strict=False)
        return model

    def staticnet(self, data: Arrays, device: str) -> Program:
        """A call of the step, and epochs of it over data that lies where it runs."""
        import staticnet as sn

        size, model = self.size_of(data), self.model(sn.nn, data, np.asarray)
        x, y = sn.placeholder((size, 3, 32, 32), name="x"), sn.placeholder((size,), "int64", "y")
        loss = sn.nn.cross_entropy(model(x), y)
        updates = sn.optim.SGD(**self.options).minimize(loss)
        step = sn.function([x, y], loss, updates, device=device)
        return staticnet_program(step, data, size, self.steps)

    def descent(self, data: Arrays, compiles: bool, dtype: str = "float32") -> Any:
        """PyTorch's step, with the fused optimizer."""
        import torch

        model = self.model(torch.nn, data, torch.from_numpy).to(getattr(torch, dtype))
        optimizer = torch.optim.SGD(model.parameters(), **self.options, fused=True)

        def objective(x: Any, y: Any) -> Any:
            return torch.nn.functional.cross_entropy(model(x), y)

        objective = torch.compile(objective, dynamic=False) if compiles else objective
        return torch_descent(objective, optimizer)

    def torch(self, data: Arrays, device: str) -> Program:
        """Eager."""
        return torch_program(self.descent(data, compiles=False), data, self.size_of(data))

    def torch_compile(self, data: Arrays, device: str) -> Program:
        """Forward and backward compiled."""
        return torch_program(self.descent(data, compiles=True), data, self.size_of(data))

    def jax(self, data: Arrays, device: str) -> Program:
        """One jitted step, all state donated."""
        weights = {name: data[name] for name in weight_shapes(self.layers)}
        descend, state = _jax_step(self.layers, weights, self.options)
        return jax_program(descend, state, data, self.size_of(data))

    def reference(self, data: Arrays) -> Any:
        """The same steps by PyTorch in float64."""
        import torch

        descend = self.descent(data, compiles=False, dtype="float64")
        feeds = itertools.cycle(batches(data, self.size_of(data)))
        wide = ((torch.from_numpy(x).double(), torch.from_numpy(y)) for x, y in feeds)
        return {
            mode: np.array([descend(x, y).item() for x, y in itertools.islice(wide, self.steps)])
            for mode in ("call", "run")
        }

    def workload(self, about: str, rtol: float) -> Workload:
        """What the benchmark takes."""
        return Workload(
            name=self.name,
            about=about,
            make_data=self.make_data,
            reference=self.reference,
            contenders={
                "staticnet": self.staticnet,
                "torch": self.torch,
                "torch.compile": self.torch_compile,
                "jax": self.jax,
            },
            rtol=rtol,
            atol=1e-5,
            check_steps=self.steps,
            parameters=tuple(weight_shapes(self.layers)),
            quick_sizes=(SMALL * self.steps,),
        )


def _jax_step(layers: Layers, weights: Arrays, options: dict[str, float]) -> tuple[Any, Any]:
    """A step, and the state before the first: weights, velocities and running statistics."""
    import jax
    import jax.numpy as jnp

    start = {"running_mean": jnp.zeros, "running_var": jnp.ones}
    statistics = {
        f"{name}.{key}": make(layer.arguments)
        for name, layer in labelled(layers)
        if layer.kind == "BatchNorm2d"
        for key, make in start.items()
    }
    params = {name: jax.device_put(value) for name, value in weights.items()}
    velocities = jax.tree.map(jnp.zeros_like, params)
    lr, momentum = options["lr"], options["momentum"]

    def objective(params: Any, statistics: Any, x: Any, y: Any) -> Any:
        kept: dict[str, Any] = {}
        logits = applied(layers, params | statistics, x, kept)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)
        return -jnp.mean(chosen), kept

    def descend(state: Any, batch: Any) -> Any:
        params, velocities, statistics = state
        found = jax.value_and_grad(objective, has_aux=True)(params, statistics, *batch)
        (loss, kept), grads = found
        velocities = jax.tree.map(lambda v, g: momentum * v + g, velocities, grads)
        params = jax.tree.map(lambda p, v: p - lr * v, params, velocities)
        return (params, velocities, kept), loss

    return descend, (params, velocities, statistics)
