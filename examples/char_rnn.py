"""An LSTM that learns a text and then writes: python examples/char_rnn.py --data DIR

DIR holds tinyshakespeare.txt. What it writes is a scan in which each character is drawn from the
scores that the one before gave, so a whole text is one call. `--picture neurons.html` shows what
some of its neurons follow (Karpathy, "The unreasonable effectiveness of recurrent neural networks",
2015). A second run with the same `--out` goes on where the first ended.
"""

import argparse
from html import escape
from pathlib import Path

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.cli import ending
from staticnet.cli.numbers import positive, positive_int
from staticnet.io import datasets
from staticnet.report import article
from staticnet.train import Trainer

HELD_OUT = 0.1  # of the text, its end
PICTURED = 700  # characters of a picture
COLD, WARM = (0, 114, 178), (213, 94, 0)  # of -1 and of 1


class CharacterModel(nn.Module):
    """The scores of each character's successor.  x: int [n, t] -> [n, t, characters]"""

    def __init__(self, characters, units=192, layers=1):
        super().__init__()
        self.embedding = nn.Embedding(characters, min(units, 64))
        self.lstm = nn.LSTM(min(units, 64), units, layers, batch_first=True)
        self.head = nn.Linear(units, characters)

    def forward(self, x):
        """The scores, from the state before a text."""
        return self.going_on(x)[0]

    def going_on(self, x, state=None):
        """(scores, state after them); None is the state before a text."""
        y, state = self.lstm(self.embedding(x), state)
        return self.head(y), state


def loss(scores, y):
    """The mean cross entropy of each next character.  scores: [n, t, characters], y: int [n, t]"""
    return nn.cross_entropy(sn.moveaxis(scores, -1, 1), y)


def split(text, length):
    """The characters, and (x, y) of pieces of the text to learn and to look on with.

    y is x a character further on.  x, y: int [pieces, length]
    """
    characters, codes = np.unique(np.array(list(text)), return_inverse=True)
    first = int(len(codes) * (1 - HELD_OUT))
    if len(codes) - first <= length:
        raise datasets.DataError(
            f"a text of {len(codes):,} characters is too short: its last tenth must be longer than "
            f"a piece of {length}; give a longer text, or a smaller --length"
        )
    return characters, pieces(codes[:first], length), pieces(codes[first:], length)


def pieces(codes, length):
    """(x, y) of a text's pieces, one after another; what is left is no piece."""
    end = (len(codes) - 1) // length * length
    return codes[:end].reshape(-1, length), codes[1 : end + 1].reshape(-1, length)


def draw(scores, key, temperature, top_k=None):
    """One of the `top_k` likeliest, with p = softmax(scores / temperature).  [n] -> int []"""
    best, places = sn.top_k(scores, top_k or scores.shape[-1])
    return places[sn.argmax(nn.functional.gumbel_softmax(best / temperature, key=key))]


def writer(model, count, top_k=None, device="auto"):
    """What goes on from a prompt; another number draws another text.

    prompt: int [p], temperature: float [], number: int [] -> int [count]
    """
    prompt = sn.placeholder(("p",), "int64", "prompt")
    temperature = sn.placeholder((), "float32", "temperature")
    number = sn.placeholder((), "int64", "number")
    scores, state = model.going_on(prompt[None])
    keys = sn.random.split(sn.random.key(0, number), count)

    def write(carry, key):
        scores, state = carry
        character = draw(scores, key, temperature, top_k)
        scores, state = model.going_on(sn.reshape(character, (1, 1)), state)
        return (scores[0, 0], state), character

    _, written = sn.scan(write, (scores[0, -1], state), keys)
    return sn.function([prompt, temperature, number], written, device=device)


def neurons(model, device="auto"):
    """What the last layer's neurons are at each character.  x: int [t] -> [t, units]"""
    x = sn.placeholder(("t",), "int64", "x")
    return sn.function([x], model.lstm(model.embedding(x[None]))[0][0], device=device)


def followed(text):
    """What a neuron may follow: {what: a number at each character}."""
    lines = text.split("\n")
    places = [i for line in lines for i in range(len(line) + 1)]
    speaker = [line.endswith(":") for line in lines for _ in range(len(line) + 1)]
    after = [0, *(c in " \n" for c in text[:-1])]
    found = {
        "how far into the line": places,
        "a speaker's name": speaker,
        "the first letter of a word": after,
        "a space or the end of a line": [c in " \n" for c in text],
        "a vowel": [c in "aeiouAEIOU" for c in text],
        "a capital": [c.isupper() for c in text],
    }
    return {what: np.array(values, float)[: len(text)] for what, values in found.items()}


def picture(file, text, activations):
    """Write a page: for each thing that may be followed, the text in the colours of a neuron."""
    parts = [
        article.paragraph(
            "A neuron of the last layer at each character: blue is -1, white 0 and orange 1. Of "
            "all neurons each text shows the one that goes most with what is written above it."
        )
    ]
    centred = activations - activations.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=0)
    for what, values in followed(text).items():
        values = values - values.mean()
        fits = values @ centred / (lengths * np.linalg.norm(values) + 1e-9)
        best = int(np.abs(fits).argmax())
        parts += [
            article.heading(what.capitalize()),
            article.paragraph(f"Neuron {best}, correlation {fits[best]:+.2f}"),
            article.markup(coloured(text, activations[:, best])),
        ]
    Path(file).write_text(article.page("What neurons follow", parts), encoding="utf-8")


def coloured(text, values):
    """The text as HTML, each character before the colour of its value in [-1, 1]."""
    made = []
    for character, value in zip(text, values, strict=True):
        share = min(abs(float(value)), 1)
        r, g, b = (round(255 + (c - 255) * share * 0.8) for c in (COLD if value < 0 else WARM))
        shown = "\u21b5\n" if character == "\n" else escape(character)
        made.append(f'<span style="background:rgb({r},{g},{b})">{shown}</span>')
    return f'<pre class="paper">{"".join(made)}</pre>'


def read(parser):
    """The command line and the text: options, characters, the prompt's codes, and both pieces.

    `parser` has a length, the training's defaults and what is its own; the rest is added here.
    """
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument("--out", metavar="DIR", help="of checkpoints; a second run goes on there")
    parser.add_argument("--write", type=positive_int, default=400, metavar="N", help="characters")
    parser.add_argument("--prompt", help="(the end of a line)")
    parser.add_argument("--temperature", type=positive, default=0.7)
    parser.add_argument("--top-k", type=positive_int, metavar="K", help="draw from the K likeliest")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    text = datasets.tinyshakespeare(options.data)
    characters, training, held = split(text, options.length)
    if options.prompt is None:
        options.prompt = "\n" if "\n" in text else text[0]
    check(parser, options, set(characters))
    nn.manual_seed(options.seed)
    prompt = np.searchsorted(characters, list(options.prompt))
    return options, characters, prompt, training, held


def check(parser, options, characters):
    """End with a line if the text has not what it is to go on from, or to draw from."""
    strange = ", ".join(map(repr, sorted(set(options.prompt) - characters)))
    if strange or not options.prompt:
        told = f"not of {strange}" if strange else "at least one"
        parser.error(f"argument --prompt: give characters of the text, {told}")
    if options.top_k is not None and options.top_k > len(characters):
        parser.error(f"argument --top-k: the text has {len(characters)} different characters")


def train(model, optimizer, training, held, options):
    """Fit the model by an optimizer whose rate falls to nothing, and tell the loss on `held`."""
    steps = options.epochs * -(-len(training[0]) // options.batch_size)
    rule = optimizer(optim.CosineAnnealingLR(options.rate, T_max=steps))
    done = Trainer(model, loss, rule, clip_norm=1.0, device=options.device).fit(
        training,
        validation=held,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        out=options.out,
        resume=True,
    )
    if done.interrupted:
        raise ending.interrupted(options.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=positive_int, default=4)
    parser.add_argument("--batch-size", type=positive_int, default=32)
    parser.add_argument("--length", type=positive_int, default=64, help="characters of a piece")
    parser.add_argument("--units", type=positive_int, default=192)
    parser.add_argument("--rate", type=positive, default=4e-3)
    parser.add_argument("--picture", metavar="FILE", help="a page of what neurons follow")
    options, characters, prompt, training, held = read(parser)
    model = CharacterModel(len(characters), options.units)
    train(model, optim.Adam, training, held, options)
    write = writer(model, options.write, options.top_k, options.device)
    written = write(prompt, np.float32(options.temperature), options.seed)
    print(options.prompt + "".join(characters[written]))
    if options.picture:
        codes = held[0].ravel()[:PICTURED]
        shown = "".join(characters[codes])
        picture(options.picture, shown, neurons(model, options.device)(codes))


if __name__ == "__main__":
    ending.script(main)
