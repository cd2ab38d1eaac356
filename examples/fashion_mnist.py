"""Train a two-layer perceptron on Fashion-MNIST or MNIST, from the official files.

    python examples/fashion_mnist.py --data DIR [--dataset mnist] [--epochs 10]

DIR holds the four files, or a folder fashion-mnist/ or mnist/ that does; STATICNET_DATA works too.
"""

import argparse

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.io import datasets
from staticnet.train import accuracy, fit, track

HELD_OUT = 10_000  # training images to look on with; the test images are for the end
LOADERS = {"fashion-mnist": datasets.fashion_mnist, "mnist": datasets.mnist}


def build(steps, device):
    """The training step (images, labels -> loss), and images -> classes."""
    x = sn.placeholder(("batch", 28, 28), "float32", name="images")
    y = sn.placeholder(("batch",), "int64", name="labels")
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    logits = model(x)
    loss = nn.cross_entropy(logits, y)
    rate = optim.CosineAnnealingLR(2e-3, T_max=steps)
    updates = optim.Adam(lr=rate).minimize(loss)
    step = sn.function([x, y], loss, updates=updates, device=device)
    return step, sn.function([x], sn.argmax(logits, axis=1), device=device)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument("--dataset", choices=LOADERS, default="fashion-mnist")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    try:
        data = LOADERS[options.dataset](options.data)
    except datasets.DataError as error:
        parser.error(str(error))
    nn.manual_seed(options.seed)
    images, labels = data.train_images[:-HELD_OUT], data.train_labels[:-HELD_OUT]
    held, held_labels = data.train_images[-HELD_OUT:], data.train_labels[-HELD_OUT:]
    steps = options.epochs * (len(images) // options.batch_size)
    step, predict = build(steps, options.device)

    epochs = track(
        fit(
            step,
            (images, labels),
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=options.seed,
        ),
        options.epochs,
        lambda epoch: (
            f"train loss {epoch.loss:.4f}  "
            f"validation accuracy {accuracy(predict(held), held_labels):.2%}  {epoch.seconds:.1f} s"
        ),
    )
    losses = np.concatenate([epoch.losses for epoch in epochs])
    seconds = sum(epoch.seconds for epoch in epochs)
    tested = accuracy(predict(data.test_images), data.test_labels)
    print(f"{len(losses)} steps in {seconds:.1f} s; test accuracy {tested:.2%}")


if __name__ == "__main__":
    main()
