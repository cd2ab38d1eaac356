"""Train a two-layer perceptron on Fashion-MNIST or MNIST, from the official files.

    python examples/fashion_mnist.py --data DIR [--dataset mnist] [--epochs 10]

DIR holds the four files, or a folder fashion-mnist/ or mnist/ that does; STATICNET_DATA works too.
"""

import argparse

from staticnet import nn, optim
from staticnet.cli import ending
from staticnet.cli.numbers import positive_int
from staticnet.io import datasets
from staticnet.train import Trainer

HELD_OUT = 10_000  # training images to look on with; the test images are for the end
LOADERS = {"fashion-mnist": datasets.fashion_mnist, "mnist": datasets.mnist}


def network():
    """The scores of ten classes.  x: [n, 28, 28] -> [n, 10]"""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument("--dataset", choices=LOADERS, default="fashion-mnist")
    parser.add_argument("--epochs", type=positive_int, default=10)
    parser.add_argument("--batch-size", type=positive_int, default=128)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data = LOADERS[options.dataset](options.data)
    nn.manual_seed(options.seed)
    images, labels = data.train_images[:-HELD_OUT], data.train_labels[:-HELD_OUT]
    held = (data.train_images[-HELD_OUT:], data.train_labels[-HELD_OUT:])
    steps = options.epochs * -(-len(images) // options.batch_size)
    rate = optim.CosineAnnealingLR(2e-3, T_max=steps)
    trainer = Trainer(
        network(), nn.cross_entropy, optim.Adam(rate), metrics="accuracy", device=options.device
    )
    sizes = {"epochs": options.epochs, "batch_size": options.batch_size, "seed": options.seed}
    if trainer.fit((images, labels), validation=held, **sizes).interrupted:
        raise KeyboardInterrupt
    tested = trainer.evaluate((data.test_images, data.test_labels))
    print(f"test accuracy {tested['accuracy']:.2%}")


if __name__ == "__main__":
    ending.script(main)
