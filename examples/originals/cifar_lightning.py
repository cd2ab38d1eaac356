"""CIFAR-10 by PyTorch Lightning: what examples/cifar_from_lightning.py is a port of."""

import argparse

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy
from torchvision import transforms
from torchvision.datasets import CIFAR10


def block(before, width):
    return (
        *(nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        nn.MaxPool2d(2),
    )


class Classifier(L.LightningModule):
    def __init__(self, width=32, lr=0.05, steps=7820):
        super().__init__()
        self.save_hyperparameters()
        layers = (*block(3, width), *block(width, 2 * width), *block(2 * width, 4 * width))
        self.network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * width, 10))
        self.train_accuracy = MulticlassAccuracy(10, average="micro")
        self.accuracy = MulticlassAccuracy(10, average="micro")

    def forward(self, x):
        return self.network(x)

    def training_step(self, batch, index):
        x, y = batch
        scores = self(x)
        loss = F.cross_entropy(scores, y)
        self.train_accuracy(scores, y)
        self.log("loss", loss, prog_bar=True)
        self.log("accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        x, y = batch
        scores = self(x)
        self.accuracy(scores, y)
        self.log("val_loss", F.cross_entropy(scores, y), prog_bar=True)
        self.log("val_accuracy", self.accuracy, prog_bar=True)

    test_step = validation_step

    def predict_step(self, batch, index):
        return self(batch[0]).argmax(1)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(
            self.parameters(), lr=self.hparams.lr, momentum=0.9, weight_decay=5e-4
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.hparams.steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def loaders(folder, batch_size):
    crop = transforms.RandomCrop(32, padding=4)
    augment = transforms.Compose([crop, transforms.RandomHorizontalFlip(), transforms.ToTensor()])
    training = CIFAR10(folder, train=True, transform=augment, download=True)
    held = CIFAR10(folder, train=False, transform=transforms.ToTensor())
    return (
        DataLoader(training, batch_size, shuffle=True, num_workers=2),
        DataLoader(held, batch_size, num_workers=2),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="data")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/cifar")
    options = parser.parse_args()

    L.seed_everything(options.seed)
    training, held = loaders(options.data, batch_size=64)
    model = Classifier(options.width, steps=options.epochs * len(training))
    trainer = L.Trainer(
        max_epochs=options.epochs,
        gradient_clip_val=1.0,
        logger=[TensorBoardLogger(options.out), CSVLogger(options.out)],
        callbacks=[
            EarlyStopping("val_loss", patience=3),
            ModelCheckpoint(options.out, monitor="val_accuracy", mode="max", save_last=True),
        ],
    )
    trainer.fit(model, training, held, ckpt_path="last")
    trainer.test(model, held)


if __name__ == "__main__":
    main()
