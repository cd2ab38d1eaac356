"""CIFAR-10 as in originals/cifar_lightning.py, by `sn.train.Trainer`.

    python examples/cifar_from_lightning.py --data DIR

DIR holds cifar-10-batches-bin/, or its files. A second run goes on where the first was ended.
"""

import argparse

from staticnet import nn, optim
from staticnet.io import datasets
from staticnet.train import Checkpoint, EarlyStopping, Trainer


def block(before, width):
    return (
        *(nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        nn.MaxPool2d(2),
    )


def network(width):
    augment = (nn.RandomCrop(32, padding=4), nn.RandomHorizontalFlip())
    layers = (*block(3, width), *block(width, 2 * width), *block(2 * width, 4 * width))
    return nn.Sequential(*augment, *layers, nn.Flatten(), nn.Linear(64 * width, 10))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/cifar")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()

    nn.manual_seed(options.seed)
    data = datasets.cifar10(options.data)
    held = (data.test_images, data.test_labels)
    steps = options.epochs * -(-len(data.train_images) // 64)
    rate = optim.CosineAnnealingLR(0.05, T_max=steps)
    trainer = Trainer(
        network(options.width),
        nn.cross_entropy,
        optim.SGD(rate, momentum=0.9, weight_decay=5e-4),
        metrics="accuracy",
        clip_norm=1.0,
        device=options.device,
    )
    trainer.fit(
        (data.train_images, data.train_labels),
        validation=held,
        epochs=options.epochs,
        batch_size=64,
        seed=options.seed,
        callbacks=[EarlyStopping("val_loss", patience=3), Checkpoint(best="val_accuracy")],
        out=options.out,
        resume=True,
    )
    print(trainer.evaluate(held))


if __name__ == "__main__":
    main()
