"""Networks of characters, each one definition of which any library's layers make a model."""

from __future__ import annotations

from typing import Any

CHARACTERS = 65  # of tinyshakespeare


def character_lstm(nn: Any, units: int = 128, layers: int = 2, characters: int = CHARACTERS) -> Any:
    """The scores of each next character, of a library that has PyTorch's names.

    x: int [n, t] -> [n, t, characters]
    """

    class CharacterLSTM(nn.Module):  # type: ignore[misc]  # of either library
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(characters, units)
            self.lstm = nn.LSTM(units, units, layers, batch_first=True)
            self.head = nn.Linear(units, characters)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(self.embedding(x))[0])

    return CharacterLSTM()


def transformer_block(nn: Any, width: int, heads: int, causal: bool) -> Any:
    """y = h + mlp(norm(h)), h = x + attention(norm(x)).  x: [n, t, width] -> y: [n, t, width]"""

    class Block(nn.Module):  # type: ignore[misc]  # of either library
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            x = x + self.projection(self.attend(self.ln_1(x)))
            return x + self.down(nn.functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))

        def attend(self, x: Any) -> Any:
            parts = self.qkv(x).reshape((*x.shape[:2], 3, heads, width // heads))
            q, k, v = (parts[:, :, i].swapaxes(1, 2) for i in range(3))
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
            return y.swapaxes(1, 2).reshape(x.shape)

    return Block()


def character_gpt(
    nn: Any, length: int = 64, width: int = 128, heads: int = 4, layers: int = 4,
    characters: int = CHARACTERS,
) -> Any:  # fmt: skip
    """The same by GPT-2's model without dropout, its output layer the embedding's weight.

    Radford et al., "Language models are unsupervised multitask learners", 2019.
    x: int [n, t] with t <= length -> [n, t, characters]
    """

    class CharacterGPT(nn.Module):  # type: ignore[misc]  # of either library
        def __init__(self) -> None:
            super().__init__()
            self.wte = nn.Embedding(characters, width)
            self.wpe = nn.Embedding(length, width)
            self.blocks = nn.Sequential(
                *(transformer_block(nn, width, heads, causal=True) for _ in range(layers))
            )
            self.ln_f = nn.LayerNorm(width)

        def forward(self, x: Any) -> Any:
            h = self.wte(x) + self.wpe.weight[: x.shape[1]]
            return self.ln_f(self.blocks(h)) @ self.wte.weight.T

    return CharacterGPT()
