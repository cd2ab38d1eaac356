"""CIFAR-10 as in originals/cifar_keras.py: python examples/cifar_from_keras.py --data DIR"""

import argparse

from staticnet import nn, optim
from staticnet.io import datasets
from staticnet.train import EarlyStopping, Trainer


def norm(width):
    return nn.BatchNorm2d(width, momentum=0.01, eps=1e-3)  # Keras's defaults


def block(before, width):
    return (
        *(nn.Conv2d(before, width, 3, padding="same"), norm(width), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding="same"), norm(width), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Dropout(0.1)),
    )


def network(width):
    return nn.Sequential(
        nn.RandomCrop(32, padding=4),
        nn.RandomHorizontalFlip(),
        *block(3, width),
        *block(width, 2 * width),
        *block(2 * width, 4 * width),
        nn.Flatten(),
        nn.Linear(64 * width, 10),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/cifar_keras")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()

    nn.manual_seed(options.seed)
    data = datasets.cifar10(options.data)
    held = (data.test_images, data.test_labels)
    model = network(options.width)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):  # begins as Keras's do
            layer.weight.value = nn.init.xavier_uniform(layer.weight.shape)
            layer.bias.value = nn.init.zeros(layer.bias.shape)
    rate = optim.ReduceLROnPlateau(1e-3, patience=1)  # of which Keras says 2
    rule = optim.Adam(rate, eps=1e-7)
    trainer = Trainer(model, nn.cross_entropy, rule, metrics="accuracy", device=options.device)
    print(model.summary())
    history = trainer.fit(
        (data.train_images, data.train_labels),
        validation=held,
        epochs=options.epochs,
        batch_size=64,
        seed=options.seed,
        callbacks=EarlyStopping(patience=3, restore_best_weights=True),
        out=options.out,
        resume=True,
    )
    print(max(history["val_accuracy"]))
    print(trainer.evaluate(held))
    trainer.save(f"{options.out}/model.safetensors")


if __name__ == "__main__":
    main()
