"""A digit classifier that learns without a gradient: python examples/cmaes_digits.py

CMA-ES draws populations of whole classifiers, and learns from those with the least loss. The images
are scikit-learn's 8 by 8 digits (or MNIST's, with --data DIR), of which their first principal
components are seen, and the products of any two of them. All members of a population meet all
images in one compiled step.
"""

import argparse
from itertools import pairwise

import numpy as np

import staticnet as sn
from staticnet import features, nn, optim
from staticnet.cli import ending
from staticnet.cli.numbers import positive_int
from staticnet.io import datasets

CLASSES = 10
MANY = 16_000  # training images of MNIST that are learned from


def digits(folder=None):
    """Images and labels, to learn from and to test with.  -> [n, d], int [n], [m, d], int [m]"""
    if folder is not None:
        data = datasets.mnist(folder)
        parts = (data.train_images[:MANY], data.train_labels[:MANY])
        parts += (data.test_images, data.test_labels)
        return parts[0].reshape(MANY, -1), parts[1], parts[2].reshape(len(parts[2]), -1), parts[3]
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    made = train_test_split(
        images.astype(np.float32), labels, test_size=360, stratify=labels, random_state=0
    )
    return made[0], made[2], made[1], made[3]


def seen(images, others, components):
    """First principal components and their products, by the images' means and deviations.

    images: [n, d], others: [m, d] -> [n, k + k (k + 1) / 2], [m, k + k (k + 1) / 2]
    """
    result = features.pca(images, components)
    coordinates, axes = sn.function([], [result.coordinates, result.axes])()
    x = with_products(coordinates)
    y = with_products((others - images.mean(axis=0)) @ axes.T)
    return (x - x.mean(axis=0)) / x.std(axis=0), (y - x.mean(axis=0)) / x.std(axis=0)


def with_products(x):
    """Columns, and the products of any two of them.  [n, k] -> [n, k + k (k + 1) / 2]"""
    first, second = np.triu_indices(x.shape[1])
    return np.concatenate([x, x[:, first] * x[:, second]], axis=1)


def scores(weights, x):
    """A classifier, linear in what is seen, from one vector.

    weights: [(d + 1) * 10], x: [n, d] -> [n, 10]
    """
    table = sn.reshape(weights, (-1, CLASSES))
    return x @ table[1:] + table[0]


def search(x, labels, sigma=0.1, popsize=48, decay=0.01, seed=0, device="auto"):
    """CMA-ES on the loss of classifiers, and the step that makes a generation."""
    x, labels = sn.constant(x.astype(np.float32)), sn.constant(labels)

    def loss(weights):
        return nn.cross_entropy(scores(weights, x), labels) + decay * sn.mean(weights**2)

    es = optim.CMAES(sigma, popsize, seed)
    start = np.zeros((x.shape[1] + 1) * CLASSES, np.float32)
    return es, es.minimize(loss, start, device=device)


def accuracy(es, x, labels):
    """The share that the mean of the distribution classifies right."""
    taken = sn.argmax(scores(sn.constant(es.mean.value), sn.constant(x.astype(np.float32))), axis=1)
    return float(np.mean(sn.function([], taken)() == labels))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="of MNIST; without it scikit-learn's digits")
    parser.add_argument("--components", type=positive_int, default=14)
    parser.add_argument("--generations", type=positive_int, default=600)
    parser.add_argument("--popsize", type=int, default=48)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    images, labels, test_images, test_labels = digits(options.data)
    x, test = seen(images, test_images, options.components)
    es, step = search(x, labels, popsize=options.popsize, seed=options.seed, device=options.device)
    print(f"{es.mean.value.size} weights, {options.popsize} classifiers a generation")
    ends = np.linspace(0, options.generations, 11).round().astype(int)
    for before, done in pairwise(np.unique(ends)):
        loss = step.run(int(done - before))[-1]
        shown = accuracy(es, test, test_labels)
        print(f"generation {done:4}  loss {loss:.4f}  test accuracy {shown:.2%}")


if __name__ == "__main__":
    ending.script(main)
