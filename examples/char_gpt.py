"""A small GPT that learns a text and then writes: python examples/char_gpt.py --data DIR

DIR holds tinyshakespeare.txt. The model is GPT-2's (Radford et al., "Language models are
unsupervised multitask learners", 2019): blocks of causal attention and a gelu network, each behind
a layer norm and beside a residual path, and an output layer that is the embedding's weight. What
writes keeps the keys and values of all characters so far: a character costs one row, not a text.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from char_rnn import draw, read, train

import staticnet as sn
from staticnet.cli import ending
from staticnet.cli.numbers import positive, positive_int


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
        q, k, v = self.parts(x)
        return self.after(x, sn.nn.scaled_dot_product_attention(q, k, v, is_causal=True))

    def one(self, x: Any, cache: Any, place: Any) -> tuple[Any, Any]:
        """(y, cache) of the token at a place, whose key and value the cache has from then on.

        x: [1, 1, d], cache: keys and values [length, heads, d / heads] -> y: [1, 1, d]
        """
        q, *new = self.parts(x)
        rows = (sn.permute_dims(part[0], (1, 0, 2)) for part in new)
        cache = tuple(
            sn.scatter_add(old, place[None], row) for old, row in zip(cache, rows, strict=True)
        )
        k, v = (sn.permute_dims(part, (1, 0, 2))[None] for part in cache)
        known = sn.arange(k.shape[2]) <= place
        y = sn.nn.scaled_dot_product_attention(q, k, v, attn_mask=known)
        return self.after(x, y), cache

    def parts(self, x: Any) -> list[Any]:
        """Queries, keys and values.  x: [n, t, d] -> 3 of [n, heads, t, d / heads]"""
        n, t, d = x.shape
        made = sn.reshape(self.attention(self.ln_1(x)), (n, t, 3, self.heads, d // self.heads))
        return [sn.permute_dims(made[:, :, i], (0, 2, 1, 3)) for i in range(3)]

    def after(self, x: Any, attended: Any) -> Any:
        """What is left to do once the heads have attended.  attended: [n, heads, t, d / heads]"""
        x = x + self.projection(sn.reshape(sn.permute_dims(attended, (0, 2, 1, 3)), x.shape))
        return x + self.down(sn.nn.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT(sn.nn.Module):
    """The scores of each token's successor.  tokens: int [n, t] -> [n, t, vocabulary]"""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.wte = sn.nn.Embedding(config.vocabulary, config.width)
        self.wpe = sn.nn.Embedding(config.length, config.width)
        self.blocks = sn.nn.Sequential(*(Block(config) for _ in range(config.layers)))
        self.ln_f = sn.nn.LayerNorm(config.width)
        std = 0.02 * (GPT2.width / config.width) ** 0.5  # GPT-2's, whose rows are longer
        for parameter in self.parameters():
            if len(parameter.shape) == 2:
                parameter.value = sn.nn.init.normal(parameter.shape, std=std)

    def forward(self, tokens: Any) -> Any:
        """The model's equation."""
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        return self.scores(self.blocks(x))

    def one(self, token: Any, cache: Any, place: Any) -> tuple[Any, Any]:
        """(scores, cache) of the token at a place.  token: int [], place: int [] -> [vocabulary]"""
        x = sn.reshape(self.wte(token) + self.wpe(place), (1, 1, self.config.width))
        made = []
        for block, own in zip(self.blocks, cache, strict=True):
            x, own = block.one(x, own, place)
            made.append(own)
        return self.scores(x)[0, 0], tuple(made)

    def cache(self) -> Any:
        """That of no tokens: keys and values of each block, 0 where there are none yet."""
        heads, width = self.config.heads, self.config.width
        empty = sn.zeros((self.config.length, heads, width // heads))
        return tuple((empty, empty) for _ in self.blocks)

    def scores(self, x: Any) -> Any:
        """Of the last block's rows; tied, so the embedding's gradient is of both uses."""
        return self.ln_f(x) @ self.wte.weight.T


def training_step(model: GPT, batch: int, lr: float = 1e-3, **options: Any) -> Any:
    """A function of tokens and their successors, int [batch, length]: it gives the loss."""
    config = model.config
    x, y = (sn.placeholder((batch, config.length), "int64", name) for name in "xy")
    logits = sn.reshape(model(x), (batch * config.length, config.vocabulary))
    loss = sn.nn.cross_entropy(logits, sn.reshape(y, (batch * config.length,)))
    updates = sn.optim.AdamW(lr=lr).minimize(loss)
    return sn.function([x, y], loss, updates=updates, **options)


def writer(model: GPT, top_k: int | None = None, device: str = "auto") -> Any:
    """A prompt and what goes on from it, as long as the model reads; the loop reads the prompt too.

    prompt: int [p], p <= length; temperature: float [], number: int [] -> int [length]
    """
    length = model.config.length
    prompt = sn.placeholder(("p",), "int64", "prompt")
    temperature = sn.placeholder((), "float32", "temperature")
    number = sn.placeholder((), "int64", "number")
    given = sn.pad(prompt, [(0, length - prompt.shape[0])])
    known = sn.arange(length) < prompt.shape[0]
    keys = sn.random.split(sn.random.key(0, number), length)

    def write(carry: Any, at: Any) -> Any:
        (drawn, cache), (place, given, known, key) = carry, at
        token = sn.where(known, given, drawn)
        scores, cache = model.one(token, cache, place)
        return (draw(scores, key, temperature, top_k), cache), token

    places = (sn.arange(length), given, known, keys)
    _, written = sn.scan(write, (prompt[0], model.cache()), places)
    return sn.function([prompt, temperature, number], written, device=device)


def long_text(
    write: Any, length: int, prompt: Any, count: int, temperature: float, seed: int
) -> Any:
    """So many tokens from a prompt on: where a text is full, its later half is the next prompt."""
    text = np.asarray(prompt)
    while len(text) < count:
        last = text[-(length // 2) :]
        made = write(last, np.float32(temperature), seed + len(text))
        text = np.concatenate([text, made[len(last) :]])
    return text[:count]


def main() -> None:
    """Train on pieces of the text, tell the loss on its end, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.set_defaults(length=Config.length)
    parser.add_argument("--epochs", type=positive_int, default=4)
    parser.add_argument("--batch-size", type=positive_int, default=16)
    parser.add_argument("--rate", type=positive, default=2e-3)
    options, characters, prompt, training, held = read(parser)
    model = GPT(Config(vocabulary=len(characters)))
    train(model, sn.optim.AdamW, training, held, options)
    write = writer(model, options.top_k, options.device)
    text = long_text(write, Config.length, prompt, options.write, options.temperature, options.seed)
    print("".join(characters[text]))


if __name__ == "__main__":
    ending.script(main)
