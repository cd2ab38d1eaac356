"""What `Trainer.fit` costs over `step.run`, and how long an epoch of images waits for data.

    python -m bench.trainer [--rounds 9] [--device cpu] [--out bench/results/trainer.json]

Both train the `mlp` on the same examples, a step and a trainer after each other in each round, in
CPU time of the process; the median of the rounds' ratios is printed, and their range.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from bench import environment
from staticnet import nn, optim
from staticnet.train import Trainer
from staticnet.train.data import ImageFolder, Plan
from staticnet.train.data.prefetch import Prefetch

EXAMPLES, BATCH, WIDTHS = 16_384, 64, (784, 256, 128, 10)


def mlp() -> nn.Module:
    nn.manual_seed(0)
    layers: list[nn.Module] = []
    for n, m in pairwise(WIDTHS):
        layers += [nn.Linear(n, m), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def examples() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.random((EXAMPLES, WIDTHS[0]), np.float32), rng.integers(0, WIDTHS[-1], EXAMPLES)


def overhead(rounds: int, device: str) -> list[float]:
    """CPU time of an epoch by the trainer, by that of the same steps by `run`."""
    x, y = examples()
    px = sn.placeholder(("batch", WIDTHS[0]), "float32", "x")
    py = sn.placeholder(("batch",), "int64", "y")
    loss = nn.cross_entropy(mlp()(px), py)
    step = sn.function([px, py], loss, updates=optim.Adam(1e-3).minimize(loss), device=device)
    trainer = Trainer(mlp(), nn.cross_entropy, optim.Adam(1e-3), device=device)

    def by_run() -> None:
        step.run(EXAMPLES // BATCH, x, y, batch_size=BATCH, shuffle=True)

    def by_trainer() -> None:
        trainer.fit((x, y), batch_size=BATCH, progress=False)

    by_run(), by_trainer()
    return [seconds(by_trainer) / seconds(by_run) for _ in range(rounds)]


def seconds(act: Any) -> float:
    begin = time.process_time()
    act()
    return time.process_time() - begin


def waiting(device: str) -> float:
    """The share of an epoch over 2,000 PNG files of 32 by 32 in which a step waits for data."""
    from PIL import Image

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2_000):
            place = Path(folder) / f"class{number % 10}"
            place.mkdir(exist_ok=True)
            pixels = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
        source, waited = ImageFolder(folder), 0.0
        nn.manual_seed(0)
        layers: list[nn.Module] = []
        for n, m in ((3, 32), (32, 32), (32, 64), (64, 64)):
            layers += [nn.Conv2d(n, m, 3, padding=1), nn.ReLU()]
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
        trainer = Trainer(
            nn.Sequential(*layers, *head), nn.cross_entropy, optim.Adam(), device=device
        )
        trainer.fit(source, batch_size=BATCH, progress=False)
        epoch, function = source.epoch(Plan(1, BATCH)), trainer.training_step().function
        plain = Prefetch.__next__

        def timed(self: Any) -> Any:
            nonlocal waited
            begin = time.perf_counter()
            try:
                return plain(self)
            finally:
                waited += time.perf_counter() - begin

        Prefetch.__next__ = timed  # type: ignore[method-assign]
        begin = time.perf_counter()
        while epoch.run(function, 1) is not None:
            pass
        Prefetch.__next__ = plain  # type: ignore[method-assign]
        return waited / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    about = environment.describe(2)
    ratios = sorted(overhead(options.rounds, options.device))
    middle = ratios[len(ratios) // 2]
    print(f"fit / run: {middle:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")
    share = waiting(options.device)
    print(f"waiting for images: {share:.1%} of an epoch")
    if options.out:
        records = {"fit by run": ratios, "waiting for images": share}
        options.out.write_text(json.dumps({"about": about, "records": records}) + "\n", "utf-8")


if __name__ == "__main__":
    main()
