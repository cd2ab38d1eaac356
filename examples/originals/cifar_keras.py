"""CIFAR-10 by Keras: what examples/cifar_from_keras.py is a port of."""

import argparse
from pathlib import Path

import keras
from keras import layers


def block(width):
    return (
        *(layers.Conv2D(width, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()),
        *(layers.Conv2D(width, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()),
        *(layers.MaxPooling2D(2), layers.Dropout(0.1)),
    )


def network(width):
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.RandomTranslation(0.125, 0.125, fill_mode="constant", interpolation="nearest"),
            layers.RandomFlip("horizontal"),
            *block(width),
            *block(2 * width),
            *block(4 * width),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/cifar_keras"))
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    (x, y), (x_test, y_test) = keras.datasets.cifar10.load_data()
    x, x_test = x.astype("float32") / 255, x_test.astype("float32") / 255
    model = network(options.width)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    options.out.mkdir(parents=True, exist_ok=True)
    model.summary()
    history = model.fit(
        x,
        y,
        validation_data=(x_test, y_test),
        epochs=options.epochs,
        batch_size=64,
        callbacks=[
            keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau(patience=2),
            keras.callbacks.TensorBoard(options.out),
            keras.callbacks.CSVLogger(options.out / "metrics.csv", append=True),
            keras.callbacks.BackupAndRestore(options.out / "backup", delete_checkpoint=False),
        ],
    )
    print(max(history.history["val_accuracy"]))
    print(model.evaluate(x_test, y_test, return_dict=True))
    model.save(options.out / "model.keras")


if __name__ == "__main__":
    main()
