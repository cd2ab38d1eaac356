"""What `examples/cifar10.py` reaches beside PyTorch's same network, with the same recipe.

    python -m bench.cifar_accuracy --data DIR [--seeds 0 1 2] [--epochs 20] [--only torch]

Layers, their first weights' distributions, crops, flips, batches, rates, momentum and decay are the
same; what is drawn is each library's own. A line has the test accuracy for a seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench import environment
from staticnet import nn
from staticnet.io import datasets

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import cifar10

BATCH, RATE, PADDING, DECAY = 32, 0.02, 4, 5e-4


def staticnet(data: Any, epochs: int, seed: int) -> float:
    """Test accuracy of the example's network."""
    nn.manual_seed(seed)
    trainer = cifar10.trainer_of(len(data.train_images), epochs, BATCH, RATE)
    given = data.train_images, data.train_labels
    trainer.fit(given, epochs=epochs, batch_size=BATCH, seed=seed, progress=False)
    return trainer.evaluate((data.test_images, data.test_labels))["accuracy"]


def torch(data: Any, epochs: int, seed: int) -> float:
    """Test accuracy of PyTorch's."""
    import torch

    torch.manual_seed(seed)
    model, rule, schedule = _in_torch(epochs * -(-len(data.train_images) // BATCH))
    images, labels = torch.tensor(data.train_images), torch.tensor(data.train_labels)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(BATCH):
            scores = model(_augmented(images[chosen]))
            loss = torch.nn.functional.cross_entropy(scores, labels[chosen].long())
            rule.zero_grad()
            loss.backward()
            rule.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        taken = [model(part).argmax(1) for part in torch.tensor(data.test_images).split(500)]
    return float(np.mean(torch.cat(taken).numpy() == data.test_labels))


def _in_torch(steps: int) -> Any:
    """The network, its optimizer and its schedule, as `cifar10.trainer_of` makes them."""
    import torch

    class Normalize(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            known = (cifar10.MEAN, cifar10.DEVIATION)
            mean, deviation = (torch.tensor(v)[:, None, None] for v in known)
            return (x - mean) / deviation

    model = torch.nn.Sequential(Normalize(), *map(_same, list(cifar10.network())[1:]))
    rule = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        rule, RATE, total_steps=steps, cycle_momentum=False
    )
    return model, rule, schedule


def _same(layer: Any) -> Any:
    """PyTorch's layer of the same sizes, begun by PyTorch."""
    import torch

    kind = getattr(torch.nn, type(layer).__name__)
    if isinstance(layer, nn.Conv2d):
        out, into, *size = layer.weight.shape
        return kind(into, out, size, padding=1, bias=False)
    if isinstance(layer, nn.BatchNorm2d):
        return kind(layer.weight.shape[0])
    if isinstance(layer, nn.Linear):
        return kind(layer.weight.shape[1], layer.weight.shape[0])
    return kind(2) if isinstance(layer, nn.MaxPool2d) else kind()


def _augmented(x: Any) -> Any:
    """A window of each image with black pixels around it, and half of them left for right."""
    import torch

    n, side = len(x), x.shape[-1]
    padded = torch.nn.functional.pad(x, [PADDING] * 4)
    top, left = torch.randint(2 * PADDING + 1, (2, n, 1, 1, 1))
    rows, columns = torch.arange(side)[:, None] + top, torch.arange(side) + left
    columns = torch.where(torch.rand(n, 1, 1, 1) < 0.5, columns.flip(-1), columns)
    each, channels = torch.arange(n)[:, None, None, None], torch.arange(x.shape[1])[:, None, None]
    return padded[each, channels, rows, columns]


WAYS = {"staticnet": staticnet, "torch": torch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--only", choices=list(WAYS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = datasets.cifar10(options.data)
    found: dict[str, list[float]] = {way: [] for way in WAYS if options.only in (None, way)}
    for seed in options.seeds:
        for way, each in found.items():
            each.append(WAYS[way](data, options.epochs, seed))
            print(f"{way}, seed {seed}: {each[-1]:.2%}", flush=True)
            if options.out:
                made = {"about": environment.describe(2), "epochs": options.epochs}
                made |= {"seeds": options.seeds, **found}
                options.out.write_text(json.dumps(made) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
