"""Four models of names, each finer than the one before: python examples/names.py --data DIR

DIR holds names.txt, a name a line. Counts of pairs of letters; a network that sees three letters
(Bengio et al., "A neural probabilistic language model", 2003); an LSTM; a GPT. Each tells its loss
on names that it has not seen, in nats a letter, and makes some of its own.
"""

import argparse

import numpy as np
from char_gpt import GPT, Config
from char_rnn import CharacterModel, draw, loss

import staticnet as sn
from staticnet import nn, optim
from staticnet.cli import ending
from staticnet.cli.numbers import positive_int
from staticnet.io import datasets
from staticnet.train import Trainer

LETTERS = ".abcdefghijklmnopqrstuvwxyz"  # a dot begins a name and ends it
LONGEST = 16  # letters and the dot; longer names are left out
HELD_OUT = 0.1
IGNORED = -100  # what cross entropy leaves out


class Counts(nn.Module):
    """log p of each letter after the one before, by counting.  x: int [n, t] -> [n, t, letters]

    One is added to each count, so that nothing is impossible.
    """

    def __init__(self, x, y):
        super().__init__()
        seen = y != IGNORED
        pairs = sn.bincount(x[seen] * len(LETTERS) + y[seen], minlength=len(LETTERS) ** 2)
        counts = sn.reshape(pairs, (len(LETTERS), len(LETTERS))) + 1
        table = sn.log(counts / sn.sum(counts, axis=1, keepdims=True))
        self.register_buffer("table", sn.function([], sn.astype(table, "float32"))())

    def forward(self, x):
        """A row of the table for each letter."""
        return self.table[x]


class Network(nn.Module):
    """Scores of what three letters together say.  x: int [n, t] -> [n, t, letters]"""

    def __init__(self, width=32, hidden=256, seen=3):
        super().__init__()
        self.seen = seen
        self.embedding = nn.Embedding(len(LETTERS), width)
        self.hidden = nn.Linear(seen * width, hidden)
        self.head = nn.Linear(hidden, len(LETTERS))

    def forward(self, x):
        """Of each place with the two before it."""
        t = x.shape[1]
        padded = sn.pad(x, [(0, 0), (self.seen - 1, 0)])  # dots before the name
        places = [padded[:, i : i + t] for i in range(self.seen)]
        together = sn.concat([self.embedding(letters) for letters in places], axis=-1)
        return self.head(sn.tanh(self.hidden(together)))


def encoded(names):
    """(x, y): the letters of names behind a dot, and those that follow them, a dot at the end.

    x, y: int [names, LONGEST]; behind the end x is 0 and y is ignored
    """
    x = np.zeros((len(names), LONGEST), np.int64)
    y = np.full((len(names), LONGEST), IGNORED, np.int64)
    for i, name in enumerate(names):
        codes = [LETTERS.index(letter) for letter in name]
        x[i, 1 : len(codes) + 1] = codes
        y[i, : len(codes) + 1] = [*codes, 0]
    return x, y


def split(names, seed=0):
    """(x, y) of names to learn, and of those to look on with."""
    chosen = [name for name in names if len(name) < LONGEST and not set(name) - set(LETTERS)]
    order = np.random.default_rng(seed).permutation(len(chosen))
    shuffled = [chosen[i] for i in order]
    first = int(len(chosen) * (1 - HELD_OUT))
    if not 0 < first < len(chosen):
        raise datasets.DataError(
            f"of {len(names):,} names {len(chosen):,} are of at most {LONGEST - 1} letters from a "
            "to z, in small; to learn from some and look on with others, give more"
        )
    return encoded(shuffled[:first]), encoded(shuffled[first:])


def writer(model, count, device="auto"):
    """Names of the model's own.  number: int [] -> int [count, LONGEST], 0 from the end on"""
    number = sn.placeholder((), "int64", "number")
    keys = sn.random.split(sn.random.key(0, number), LONGEST)

    def write(letters, at):
        """The letters with one more; what the later places hold does not reach this one."""
        place, key = at
        scores = model(letters)[:, place]
        drawn = sn.vmap(lambda s, k: draw(s, k, 1.0))(scores, sn.random.split(key, count))
        before = sn.arange(LONGEST) <= place
        drawn = sn.where((letters[:, place] == 0) & (place > 0), 0, drawn)  # the name is over
        following = sn.where(sn.arange(LONGEST) == place + 1, drawn[:, None], 0)
        return sn.where(before, letters, following), drawn

    start = sn.zeros((count, LONGEST), "int64")
    _, written = sn.scan(write, start, (sn.arange(LONGEST), keys))
    return sn.function([number], written.T, device=device)


def decoded(rows):
    """The names of rows of letters."""
    return ["".join(LETTERS[code] for code in row).partition(".")[0] for row in rows]


def models(training):
    """{name: (model, learning rate)}; there is nothing to train in counts."""
    return {
        "bigram counts": (Counts(*training), None),
        "three letters": (Network(), 3e-3),
        "LSTM": (CharacterModel(len(LETTERS), 192), 4e-3),
        "GPT": (GPT(Config(len(LETTERS), layers=3, heads=4, width=64, length=LONGEST)), 3e-3),
    }


def train(model, rate, training, held, epochs, batch_size=32, device="auto", seed=0):
    """Train a model; -> its loss on the names held out, the mean over their letters."""
    steps = epochs * -(-len(training[0]) // batch_size)
    rule = None if rate is None else optim.AdamW(optim.CosineAnnealingLR(rate, T_max=steps))
    trainer = Trainer(model, loss, rule, device=device)
    if rule is not None:
        done = trainer.fit(training, epochs=epochs, batch_size=batch_size, seed=seed)
        if done.interrupted:
            raise KeyboardInterrupt
    return trainer.evaluate(held, batch_size=len(held[0]))["loss"]  # in one batch: of all letters


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument("--epochs", type=positive_int, default=4)
    parser.add_argument(
        "--names", type=positive_int, default=8, metavar="N", help="that each model makes"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    training, held = split(datasets.names(options.data))
    nn.manual_seed(options.seed)
    for name, (model, rate) in models(training).items():
        found = train(
            model, rate, training, held, options.epochs, device=options.device, seed=options.seed
        )
        made = decoded(writer(model, options.names, options.device)(options.seed))
        print(f"{name:14} {found:.3f}  {' '.join(made)}")


if __name__ == "__main__":
    ending.script(main)
