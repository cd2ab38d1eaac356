"""A convolutional network with batch norm, trained on CIFAR-10: python examples/cifar.py --data DIR

DIR holds cifar-10-batches-bin/, or its files. Random crops and flips are nodes of the step's graph,
so each run draws its own; a second function of the same weights classifies with the running
statistics.
"""

import argparse
from itertools import pairwise

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.io import datasets
from staticnet.train import accuracy, fit, track

CLASSES = 10
MEAN, DEVIATION = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)  # of the training images' channels


def block(before, width):
    """Two convolutions with batch norm, and half the height and width."""
    layers = []
    for channels in (before, width):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
    return [*layers, nn.MaxPool2d(2)]


def network(widths=(32, 64, 128)):
    """The scores of ten classes.  x: [n, 3, 32, 32] in [0, 1] -> [n, 10]"""
    blocks = [layer for pair in pairwise((3, *widths)) for layer in block(*pair)]
    side = 32 >> len(widths)
    scores = nn.Linear(widths[-1] * side**2, CLASSES)
    return nn.Sequential(nn.Normalize(MEAN, DEVIATION), *blocks, nn.Flatten(), scores)


def augmentation():
    """Windows of the image with four black pixels around it, and left for right."""
    return nn.Sequential(nn.RandomCrop(32, padding=4), nn.RandomHorizontalFlip())


def training_step(model, augment, rate, device):
    """images, labels -> loss: a step of SGD with momentum."""
    x = sn.placeholder(("batch", 3, 32, 32), "float32", name="images")
    y = sn.placeholder(("batch",), "int64", name="labels")
    loss = nn.cross_entropy(model.train()(augment(x)), y)
    updates = optim.SGD(lr=rate, momentum=0.9, weight_decay=5e-4).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device)


def classifier(model, device):
    """images -> classes, with the running statistics."""
    x = sn.placeholder(("batch", 3, 32, 32), "float32", name="images")
    return sn.function([x], sn.argmax(model.eval()(x), axis=1), device=device)


def in_parts(predict, images, size=250):
    """The classes of many images, a part at a time."""
    return np.concatenate([predict(images[i : i + size]) for i in range(0, len(images), size)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    try:
        data = datasets.cifar10(options.data)
    except datasets.DataError as error:
        parser.error(str(error))
    nn.manual_seed(options.seed)
    model = network()
    steps = options.epochs * (len(data.train_images) // options.batch_size)
    rate = optim.CosineAnnealingLR(options.rate, T_max=steps)
    predict = classifier(model, options.device)
    step = training_step(model, augmentation(), rate, options.device)
    count = sum(parameter.value.size for parameter in model.parameters())
    print(f"{count:,} parameters, {len(data.train_images):,} images")

    images = (data.train_images, data.train_labels)
    sizes = {"epochs": options.epochs, "batch_size": options.batch_size}
    for _ in track(
        fit(step, images, **sizes, seed=options.seed),
        options.epochs,
        lambda epoch: f"train loss {epoch.loss:.4f}  {epoch.seconds:.1f} s",
    ):
        pass
    model.eval()
    tested = accuracy(in_parts(predict, data.test_images), data.test_labels)
    print(f"test accuracy {tested:.2%}")


if __name__ == "__main__":
    main()
