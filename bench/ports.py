"""What accuracy the ports in examples/ reach beside the scripts that they are ports of.

    python -m bench.ports keras --data DIR [--seeds 6] [--epochs 5] [--width 8] [--repeat 1]

Each script runs in a process of its own, the original and its port after each other for every seed,
on the same files; what is kept is the accuracy on the test images that it prints last. Narrow
networks by default: a full one (32) takes hours on two cores. Where DIR holds but a part of
CIFAR-10, `--repeat 4` has an epoch go over it four times: Keras's batch norm forgets slowly, and
early stopping would end a run before its averages hold. `--out FILE` keeps the accuracies.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from staticnet.io import datasets

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = {
    "keras": ("originals/cifar_keras.py", "cifar_from_keras.py"),
    "lightning": ("originals/cifar_lightning.py", "cifar_from_lightning.py"),
}
PRINTED = re.compile(r"accuracy\W+(\d\.\d+)")


def keras_reads(folder: str) -> None:
    """Have Keras take CIFAR-10 from the folder's files, and leave out what is not installed."""
    import keras

    if importlib.util.find_spec("tensorflow") is None:  # which its events need
        keras.callbacks.TensorBoard = lambda folder: keras.callbacks.Callback()
    data = datasets.cifar10(folder)

    def part(images: Any, labels: Any) -> tuple[Any, Any]:
        return (images * 255).round().astype("uint8").transpose(0, 2, 3, 1), labels[:, None]

    keras.datasets.cifar10.load_data = lambda: (
        part(data.train_images, data.train_labels),
        part(data.test_images, data.test_labels),
    )


def lightning_reads(folder: str) -> None:
    """Have torchvision take CIFAR-10 from the folder's files, and not from the network."""
    import torchvision
    from PIL import Image

    data = datasets.cifar10(folder)

    class Local:
        def __init__(self, root: str, train: bool, transform: Any, download: bool = False) -> None:
            name = "train" if train else "test"
            self.images, self.labels = (getattr(data, f"{name}_{x}") for x in ("images", "labels"))
            self.transform = transform

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, i: int) -> tuple[Any, int]:
            pixels = (self.images[i] * 255).round().astype("uint8").transpose(1, 2, 0)
            return self.transform(Image.fromarray(pixels)), int(self.labels[i])

    torchvision.datasets.CIFAR10 = Local


def run_script(options: argparse.Namespace) -> None:
    """Be one of the scripts."""
    original, port = SCRIPTS[options.name]
    arguments = ["--epochs", str(options.epochs), "--width", str(options.width)]
    arguments += ["--seed", str(options.seed), "--out", options.folder]
    if options.run == "original":
        {"keras": keras_reads, "lightning": lightning_reads}[options.name](options.data)
    else:
        arguments += ["--data", options.data]
    script = str(EXAMPLES / (original if options.run == "original" else port))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def repeated(folder: str, given: str, times: int) -> str:
    """A folder in which each file of training images of the given one stands so many times."""
    files = [*Path(given).rglob("data_batch_*.bin")]
    for number, file in enumerate(sorted(files) * times, 1):
        (Path(folder) / f"data_batch_{number}.bin").symlink_to(file.resolve())
    for file in Path(given).rglob("test_batch.bin"):
        (Path(folder) / file.name).symlink_to(file.resolve())
    return folder


def accuracy(who: str, seed: int, data: str) -> float:
    """Of the original's or the port's test images, in percent, by a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        extra = ["--run", who, "--seed", str(seed), "--folder", folder, "--data", data]
        command = [sys.executable, "-m", "bench.ports", *sys.argv[1:], *extra]
        environment = {"KERAS_BACKEND": "torch", **os.environ}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return round(100 * float(PRINTED.findall(done.stdout)[-1]), 2)


def measured(options: argparse.Namespace, data: str) -> dict[str, list[float]]:
    """The accuracies of the original and of the port, a seed each."""
    found: dict[str, list[float]] = {"original": [], "port": []}
    for seed in range(options.seeds):
        for who, values in found.items():
            values.append(accuracy(who, seed, data))
        last = ", ".join(f"{who} {values[-1]:.1f} %" for who, values in found.items())
        print(f"seed {seed}: {last}", flush=True)
        if options.out:
            about = {key: getattr(options, key) for key in ("name", "epochs", "width", "repeat")}
            options.out.write_text(json.dumps({**about, "accuracy": found}) + "\n", "utf-8")
    return found


def told(values: list[float]) -> str:
    """Mean and standard error."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{mean(values):.1f} ± {error:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SCRIPTS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--run", choices=["original", "port"], help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return run_script(options)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(options, repeated(folder, options.data, options.repeat))
    apart = [b - a for a, b in zip(found["original"], found["port"], strict=True)]
    print(
        f"original {told(found['original'])} %, port {told(found['port'])} %, apart {told(apart)}"
    )
    return None


if __name__ == "__main__":
    main()
