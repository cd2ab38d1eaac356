"""A convolutional network with batch norm, trained on CIFAR-10: python examples/cifar.py --data DIR

DIR holds cifar-10-batches-bin/, or its files. Random crops and flips are nodes of the step's graph,
so each run draws its own; the evaluation is of the same weights with the running statistics.
"""

import argparse
from itertools import pairwise

from staticnet import nn, optim
from staticnet.io import datasets
from staticnet.train import Trainer

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--out", metavar="DIR", help="of checkpoints; a second run goes on there")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    try:
        data = datasets.cifar10(options.data)
    except datasets.DataError as error:
        parser.error(str(error))
    nn.manual_seed(options.seed)
    model = nn.Sequential(augmentation(), network())
    steps = options.epochs * -(-len(data.train_images) // options.batch_size)
    rate = optim.CosineAnnealingLR(options.rate, T_max=steps)
    rule = optim.SGD(lr=rate, momentum=0.9, weight_decay=5e-4)
    trainer = Trainer(model, nn.cross_entropy, rule, metrics="accuracy", device=options.device)
    print(f"{trainer}, {len(data.train_images):,} images")
    trainer.fit(
        (data.train_images, data.train_labels),
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        out=options.out,
        resume=True,
    )
    tested = trainer.evaluate((data.test_images, data.test_labels))
    print(f"test accuracy {tested['accuracy']:.2%}")


if __name__ == "__main__":
    main()
