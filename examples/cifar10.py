"""A convolutional network with batch norm, on CIFAR-10: python examples/cifar10.py --data DIR

DIR holds cifar-10-batches-bin/, or its files. Random crops and flips are nodes of the step's graph,
so each run draws its own; the evaluation is of the same weights with the running statistics.
`--page page.html` shows what was right and wrong, `--save` and `--load FILE` keep the network, and
`--predict picture.png` asks it.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from staticnet import nn, optim
from staticnet.cli import ending
from staticnet.cli.numbers import positive, positive_int
from staticnet.io import datasets
from staticnet.report import class_accuracy, predictions_page, shown_share
from staticnet.train import Trainer
from staticnet.train.data.images import read_image

CLASSES = datasets.CIFAR10_CLASSES
MEAN, DEVIATION = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)  # of the training images' channels
SIDE = 32


def block(before, width):
    """Two convolutions with batch norm, and half the height and width."""
    layers = []
    for channels in (before, width):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
    return [*layers, nn.MaxPool2d(2)]


def network(widths=(24, 48, 96)):
    """The scores of ten classes.  x: [n, 3, 32, 32] in [0, 1] -> [n, 10]"""
    blocks = [layer for pair in pairwise((3, *widths)) for layer in block(*pair)]
    side = SIDE >> len(widths)
    scores = nn.Linear(widths[-1] * side**2, len(CLASSES))
    return nn.Sequential(nn.Normalize(MEAN, DEVIATION), *blocks, nn.Flatten(), scores)


def augmentation():
    """Windows of the image with four black pixels around it, and left for right."""
    return nn.Sequential(nn.RandomCrop(SIDE, padding=4), nn.RandomHorizontalFlip())


def trainer_of(images, epochs, batch_size=32, rate=0.02, device="auto"):
    """What trains the network on so many images."""
    steps = epochs * -(-images // batch_size)
    schedule = optim.OneCycleLR(rate, total_steps=steps)
    rule = optim.SGD(lr=schedule, momentum=0.9, weight_decay=5e-4)
    model = nn.Sequential(augmentation(), network())
    return Trainer(model, nn.cross_entropy, rule, metrics="accuracy", device=device)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument("--epochs", type=positive_int, default=20)
    parser.add_argument("--batch-size", type=positive_int, default=32)
    parser.add_argument("--rate", type=positive, default=0.02)
    parser.add_argument("--out", metavar="DIR", help="of checkpoints; a second run goes on there")
    parser.add_argument("--save", metavar="FILE", help="the trained network, with its graphs")
    parser.add_argument("--load", metavar="FILE", help="a network to use instead of training one")
    parser.add_argument("--page", metavar="FILE", help="HTML of right and wrong predictions")
    parser.add_argument("--predict", metavar="IMAGE", nargs="+", default=[], help="of one's own")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data = datasets.cifar10(options.data)
    if options.load:
        trainer = Trainer.load(options.load, device=options.device)
    else:
        trainer = train(options, data)
    tell(trainer, data, options.page)
    for file in options.predict:
        scores = trainer.predict(read_image(Path(file), size=(SIDE, SIDE))[None])[0]
        print(f"{file}: {CLASSES[scores.argmax()]}")


def train(options, data):
    nn.manual_seed(options.seed)
    trainer = trainer_of(
        len(data.train_images), options.epochs, options.batch_size, options.rate, options.device
    )
    print(f"{trainer}, {len(data.train_images):,} images")
    done = trainer.fit(
        (data.train_images, data.train_labels),
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        out=options.out,
        resume=True,
    )
    if options.save:
        trainer.save(options.save)
    if done.interrupted:
        raise ending.interrupted(options.out)
    return trainer


def tell(trainer, data, page):
    """Print the accuracy on the test images, of all and of each class; write the page."""
    scores = trainer.predict(data.test_images)
    taken = scores.argmax(axis=1)
    print(f"test accuracy {np.mean(taken == data.test_labels):.2%}")
    for name, share in zip(
        CLASSES, class_accuracy(data.test_labels, taken, len(CLASSES)), strict=True
    ):
        print(f"  {name:12} {shown_share(share)}")
    if page:
        text = predictions_page(
            "CIFAR-10: right and wrong", data.test_images, data.test_labels, scores, CLASSES
        )
        Path(page).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    ending.script(main)
