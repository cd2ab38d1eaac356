"""A small GPT of sn.nn layers, trained on a text: python examples/gpt.py --data DIR

DIR holds tinyshakespeare.txt. The model is GPT-2's (Radford et al., "Language models are
unsupervised multitask learners", 2019): blocks of causal attention and a gelu network, each behind
a layer norm and beside a residual path, and an output layer that is the embedding's weight.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.datasets import tinyshakespeare


@dataclass(frozen=True)
class Config:
    """The sizes of a GPT."""

    vocabulary: int
    layers: int = 4
    heads: int = 4
    width: int = 128
    length: int = 64


GPT2 = Config(vocabulary=50257, layers=12, heads=12, width=768, length=1024)  # 124 M parameters


class Block(sn.nn.Module):
    """y = h + mlp(norm(h)), h = x + attention(norm(x)).  x: [n, t, d] -> y: [n, t, d]"""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.width
        self.heads = config.heads
        self.ln_1, self.ln_2 = sn.nn.LayerNorm(d), sn.nn.LayerNorm(d)
        self.attention, self.projection = sn.nn.Linear(d, 3 * d), sn.nn.Linear(d, d)
        self.up, self.down = sn.nn.Linear(d, 4 * d), sn.nn.Linear(4 * d, d)

    def forward(self, x: Any) -> Any:
        """The block's equation."""
        x = x + self.projection(self.attend(self.ln_1(x)))
        return x + self.down(sn.nn.gelu(self.up(self.ln_2(x)), approximate="tanh"))

    def attend(self, x: Any) -> Any:
        """Causal attention of all heads.  x: [n, t, d] -> [n, t, d]"""
        n, t, d = x.shape
        parts = sn.reshape(self.attention(x), (n, t, 3, self.heads, d // self.heads))
        q, k, v = (sn.permute_dims(parts[:, :, i], (0, 2, 1, 3)) for i in range(3))
        y = sn.nn.scaled_dot_product_attention(q, k, v, is_causal=True)
        return sn.reshape(sn.permute_dims(y, (0, 2, 1, 3)), (n, t, d))


class GPT(sn.nn.Module):
    """The scores of each token's successor.  tokens: int [n, t] -> [n, t, vocabulary]"""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.wte = sn.nn.Embedding(config.vocabulary, config.width)
        self.wpe = sn.nn.Embedding(config.length, config.width)
        self.blocks = sn.nn.Sequential(*(Block(config) for _ in range(config.layers)))
        self.ln_f = sn.nn.LayerNorm(config.width)
        for parameter in self.parameters():
            if len(parameter.shape) == 2:
                parameter.value = sn.nn.init.normal(parameter.shape, std=0.02)

    def forward(self, tokens: Any) -> Any:
        """The model's equation."""
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        return self.ln_f(self.blocks(x)) @ self.wte.weight.T  # tied: its gradient is of both uses


def training_step(model: GPT, batch: int, lr: float = 1e-3, **options: Any) -> Any:
    """A function of tokens and their successors, int [batch, length]: it gives the loss."""
    config = model.config
    x, y = (sn.placeholder((batch, config.length), "int64", name) for name in "xy")
    logits = sn.reshape(model(x), (batch * config.length, config.vocabulary))
    loss = sn.nn.cross_entropy(logits, sn.reshape(y, (batch * config.length,)))
    updates = sn.optim.AdamW(lr=lr).minimize(loss)
    return sn.function([x, y], loss, updates=updates, **options)


def main() -> None:
    """Train on random pieces of the text, and tell the loss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="the folder of tinyshakespeare.txt")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    text = tinyshakespeare(arguments.data)
    characters, codes = np.unique(np.array(list(text)), return_inverse=True)
    config = Config(vocabulary=len(characters))
    sn.manual_seed(0)
    step = training_step(GPT(config), arguments.batch, device=arguments.device)
    print(f"{step.memory_analysis().peak / 1e6:.1f} MB, {step.plan.launches} launches a step")
    rng = np.random.default_rng(0)
    for i in range(arguments.steps):
        starts = rng.integers(0, len(codes) - config.length, arguments.batch)
        pieces = np.stack([codes[s : s + config.length + 1] for s in starts])
        loss = float(step(pieces[:, :-1], pieces[:, 1:]))
        if i % 20 == 0 or i == arguments.steps - 1:
            print(f"step {i}: loss {loss:.3f}")


if __name__ == "__main__":
    main()
