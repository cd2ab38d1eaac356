"""Networks that train on a GPU at the sizes people use, beside PyTorch in the same precision.

No reference in float64 is to be had for them in minutes. What a contender must give are the losses
of eager PyTorch's steps, of the same weights and batches, on whatever device it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.gpu.models import bottlenecks, vision_transformer
from bench.program import Array, Arrays, Program, Workload
from bench.training import batches, staticnet_program, torch_descent, torch_program
from staticnet.cli.networks import NETWORKS, network
from staticnet.cli.text_networks import character_gpt, character_lstm

STEPS = 4  # batches, each of which is checked
IMAGENET = (3, 224, 224)
Model = Callable[[Any], Any]


@dataclass(frozen=True)
class Network:
    """A model of either library's layers, and how it trains: cross entropy of `classes`.

    `example` is the shape of an input, of tokens if it has one axis; then each has a target.
    `precision` is what products are computed in, by peers in bfloat16 where it is float8; `rule`
    the optimizer by PyTorch's name.
    """

    name: str
    about: str
    model: Model
    example: tuple[int, ...]
    classes: int
    batch: int
    precision: str = "bfloat16"
    rule: str = "AdamW"
    options: Mapping[str, float] = field(default_factory=lambda: {"lr": 1e-3})
    rtol: float = 2e-2

    @property
    def of_peers(self) -> str:
        """What other libraries compute products in."""
        return "bfloat16" if self.precision == "float8" else self.precision

    @property
    def is_text(self) -> bool:
        """Whether it reads tokens."""
        return len(self.example) == 1

    def make_data(self, size: int) -> dict[str, Array]:
        """x: [n, *example], y: int64 [n] or [n, t], and the weights by their names."""
        rng, n = np.random.default_rng(11), STEPS * self.batch
        targets = self.example if self.is_text else ()
        y = rng.integers(0, self.classes, (n, *targets))
        if self.is_text:
            x: Array = rng.integers(0, self.classes, (n, *self.example))
        else:
            x = rng.normal(size=(n, *self.example)).astype(np.float32)
        return {"x": x, "y": y} | self.weights()

    def weights(self) -> dict[str, Array]:
        """Matrices of a small deviation, norms of 1 and zeros, drawn by the names."""
        import staticnet as sn

        rng, drawn = np.random.default_rng(12), {}
        for name, start in self.model(sn.nn).state_dict().items():
            value = np.asarray(start)
            if value.ndim > 1:
                fan = value[0].size if value.ndim == 4 else 2500  # a deviation of 0.02
                value = rng.normal(0, fan**-0.5, value.shape)
            drawn[name] = value.astype(start.dtype)
        return drawn

    def _load(self, nn: Any, data: Arrays, convert: Callable[[Array], Any]) -> Any:
        model = self.model(nn)
        weights = {name: convert(a) for name, a in data.items() if name not in "xy"}
        model.load_state_dict(weights, strict=False)
        return model

    def staticnet_step(self, data: Arrays, device: str) -> Any:
        """One function of the batch: forward, backward and the optimizer are one graph."""
        import staticnet as sn

        model = self._load(sn.nn, data, np.asarray)
        targets = self.example if self.is_text else ()
        x = sn.placeholder((self.batch, *self.example), data["x"].dtype, "x")
        y = sn.placeholder((self.batch, *targets), "int64", "y")
        scores = sn.reshape(model(x), (-1, self.classes))
        loss = sn.nn.cross_entropy(scores, sn.reshape(y, (-1,)))
        updates = getattr(sn.optim, self.rule)(**self.options).minimize(loss)
        return sn.function([x, y], loss, updates, device=device, precision=self.precision)

    def staticnet(self, data: Arrays, device: str) -> Program:
        """A call of the step, and epochs of it over data that lies where it runs."""
        return staticnet_program(self.staticnet_step(data, device), data, self.batch, STEPS)

    def _descent(self, data: Arrays, compiles: bool, place: str) -> Any:
        import torch

        model = self._load(torch.nn, data, torch.from_numpy).to(place)
        rule = getattr(torch.optim, self.rule)
        optimizer = rule(model.parameters(), **self.options, fused=True)

        def objective(x: Any, y: Any) -> Any:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self.of_peers == "bfloat16"):
                scores = model(x).reshape(-1, self.classes)
                return torch.nn.functional.cross_entropy(scores, y.reshape(-1))

        objective = torch.compile(objective, dynamic=False) if compiles else objective
        return torch_descent(objective, optimizer)

    def torch(self, data: Arrays, device: str) -> Program:
        """Eager, under autocast, with the fused optimizer."""
        return torch_program(self._descent(data, False, device), data, self.batch)

    def torch_compile(self, data: Arrays, device: str) -> Program:
        """Model and loss compiled."""
        return torch_program(self._descent(data, True, device), data, self.batch)

    def jax(self, data: Arrays, device: str) -> Program:
        """One jitted step, all state donated."""
        from bench.gpu import jax_layers, jax_networks

        return jax_networks.program(
            self.model(jax_layers), data, self.batch, self.classes, self.of_peers, self.rule,
            self.options,
        )  # fmt: skip

    def reference(self, data: Arrays) -> Any:
        """The losses of eager PyTorch, on a GPU if it has one."""
        import torch

        place = "cuda" if torch.cuda.is_available() else "cpu"
        descend = self._descent(data, False, place)
        feeds = batches(data, self.batch)
        losses = [
            descend(torch.from_numpy(x).to(place), torch.from_numpy(y).to(place)).item()
            for x, y in feeds
        ]
        if place == "cuda":
            del descend
            torch.cuda.empty_cache()
        return {mode: np.array(losses) for mode in ("call", "run")}

    def workload(self) -> Workload:
        """What the benchmark takes."""
        return Workload(
            name=self.name,
            about=self.about,
            make_data=self.make_data,
            reference=self.reference,
            contenders={
                "staticnet": self.staticnet,
                "torch": self.torch,
                "torch.compile": self.torch_compile,
                "jax": self.jax,
            },
            rtol=self.rtol,
            atol=1e-3,
            check_steps=STEPS,
        )


def gpt2(nn: Any) -> Any:
    """GPT-2 of 124 million parameters."""
    return character_gpt(nn, length=1024, width=768, heads=12, layers=12, characters=50257)


def gpt2_padded(nn: Any) -> Any:
    """The same with a vocabulary that products in 8 bits have a use for: a multiple of 16."""
    return character_gpt(nn, length=1024, width=768, heads=12, layers=12, characters=50304)


DESCENT = {"lr": 0.01, "momentum": 0.9}
NETWORKS_OF_THE_GPU = (
    Network(
        "char_lstm", "2 LSTM layers of 512, 64 steps, batch 128, bfloat16, AdamW",
        lambda nn: character_lstm(nn, units=512), (64,), 65, 128,
    ),
    Network(
        "cifar_bn", "6 convolutions of 3 x 3 with batch norm, batch 128, bfloat16, SGD",
        lambda nn: network(nn, NETWORKS["cifar_bn"]), (3, 32, 32), 10, 128, rule="SGD",
        options=DESCENT,
    ),
    Network(
        "resnet50", "224 x 224, batch 128, bfloat16, SGD with momentum",
        lambda nn: network(nn, bottlenecks((64, 128, 256, 512), (3, 4, 6, 3), 1000)),
        IMAGENET, 1000, 128, rule="SGD", options=DESCENT,
    ),
    Network(
        "vit_b16", "224 x 224, batch 128, bfloat16, AdamW",
        lambda nn: vision_transformer(nn, 224, 16, 768, 12, 12, 1000), IMAGENET, 1000, 128,
    ),
    Network("gpt2_124m", "1,024 tokens, batch 8, bfloat16, AdamW", gpt2, (1024,), 50257, 8),
    Network("gpt2_124m_32", "1,024 tokens, batch 32, bfloat16, AdamW", gpt2, (1024,), 50257, 32),
    Network(
        "gpt2_124m_float8", "1,024 tokens, batch 8, vocabulary of 50,304, float8, AdamW",
        gpt2_padded, (1024,), 50304, 8, precision="float8", rtol=5e-2,
    ),
)  # fmt: skip
