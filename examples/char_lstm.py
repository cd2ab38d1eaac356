"""A character model of LSTM layers, which then writes: python examples/char_lstm.py --data DIR

DIR holds tinyshakespeare.txt. A step learns pieces of the text; what it writes is a scan in which
each character is drawn from the scores that the one before gave, so the whole text is one call.
"""

import argparse

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.io import datasets


class CharacterModel(nn.Module):
    """The scores of each character's successor.  x: int [n, t] -> [n, t, characters]"""

    def __init__(self, characters, units=128, layers=2):
        super().__init__()
        self.embedding = nn.Embedding(characters, units)
        self.lstm = nn.LSTM(units, units, layers, batch_first=True)
        self.head = nn.Linear(units, characters)

    def forward(self, x, state=None):
        """(scores, state)"""
        y, state = self.lstm(self.embedding(x), state)
        return self.head(y), state


def training_step(model, length, rate, device):
    """x, y: int [batch, length] -> loss: a step of Adam; gradients no longer than 1."""
    x, y = (sn.placeholder(("batch", length), "int64", name) for name in "xy")
    scores = sn.permute_dims(model(x)[0], (0, 2, 1))
    loss = nn.cross_entropy(scores, y)
    adam = optim.Adam(lr=rate)
    grads = adam.gradients(loss, list(model.parameters()))
    updates = adam.apply(optim.clip_by_global_norm(grads, 1.0))
    return sn.function([x, y], loss, updates=updates, device=device)


def writer(model, count, temperature, device, seed=0):
    """first: int [] -> int [count]: each character drawn from what the one before gave."""
    first = sn.placeholder((), "int64", "first")
    start = sn.zeros((model.lstm.num_layers, 1, model.lstm.hidden_size))
    keys = sn.random.split(sn.random.key(seed), count)

    def draw(carry, key):
        character, state = carry
        scores, state = model(sn.reshape(character, (1, 1)), state)
        drawn = nn.functional.gumbel_softmax(scores[0, 0], temperature, key=key)
        character = sn.argmax(drawn)
        return (character, state), character

    _, written = sn.scan(draw, (first, (start, start)), keys)
    return sn.function([first], written, device=device)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--length", type=int, default=50, help="characters of a piece")
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    try:
        text = datasets.tinyshakespeare(options.data)
    except datasets.DataError as error:
        parser.error(str(error))
    characters, codes = np.unique(np.array(list(text)), return_inverse=True)
    nn.manual_seed(options.seed)
    model = CharacterModel(len(characters))
    step = training_step(model, options.length, options.rate, options.device)
    rng = np.random.default_rng(options.seed)
    for i in range(options.steps):
        starts = rng.integers(0, len(codes) - options.length, options.batch_size)
        pieces = codes[starts[:, None] + np.arange(options.length + 1)]
        loss = float(step(pieces[:, :-1], pieces[:, 1:]))
        if i % 50 == 0 or i == options.steps - 1:
            print(f"step {i}: loss {loss:.3f}")
    write = writer(model, 400, options.temperature, options.device, options.seed)
    print("".join(characters[write(np.searchsorted(characters, "\n"))]))


if __name__ == "__main__":
    main()
