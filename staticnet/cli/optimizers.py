"""`staticnet optimizers -o page.html`: how optimizers walk over functions, as an animation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from staticnet import files
from staticnet.errors import ArgumentError
from staticnet.report.paths import paths_page

Array = np.ndarray[Any, Any]
DOTS = 240  # of a landscape's picture, each way
BEYOND = 1e6  # what has left so far is not drawn


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("optimizers", help="show how optimizers walk, as an animation")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/optimizers.html"),
                        help="(%(default)s)")  # fmt: skip
    parser.add_argument("--steps", type=int, default=200, help="(%(default)s)")
    parser.add_argument("--device", default="auto", help="(%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the page, and say who comes how near on each landscape.

    Raises:
        ArgumentError: if there are no steps.
        OSError: if the page cannot be written.
    """
    from staticnet.cli.landscapes import LANDSCAPES

    if options.steps < 1:
        raise ArgumentError(f"optimizers: --steps must be at least 1, not {options.steps}")
    shown = [described(each, options.steps, options.device) for each in LANDSCAPES]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    files.write(options.out, paths_page("How optimizers walk", shown))
    for landscape in shown:
        least = min(landscape["ways"], key=lambda way: way["values"][-1])
        print(f"{landscape['name']:22} {least['name']} is lowest: {least['values'][-1]:.3g}")
    print(f"wrote {options.out}")


def described(landscape: Any, steps: int, device: str) -> dict[str, Any]:
    """A landscape with all ways over it, as the page takes it."""
    from staticnet.cli.landscapes import searched, surface, walked

    ways = [_way(name, points, landscape) for name, points in
            walked(landscape, steps, device).items()]  # fmt: skip
    search = searched(landscape, steps, device)
    ways.append(_way("CMA-ES", search.means, landscape))
    return {
        "name": landscape.name,
        "formula": landscape.formula,
        "said": landscape.said,
        "extent": landscape.extent,
        "optima": landscape.optima,
        "steps": steps,
        "surface": surface(landscape, DOTS),
        "ways": ways,
        "ellipses": [_ellipse(c) for c in search.covariances],
        "populations": [_rounded(points) for points in search.populations],
    }


def _way(name: str, points: Array, landscape: Any) -> dict[str, Any]:
    """A way, up to where it left for good."""
    import staticnet as sn

    gone = np.flatnonzero(~(np.abs(points).max(axis=1) < BEYOND))
    points = points[: gone[0]] if gone.size else points
    x, y = (sn.constant(points[:, i].astype(np.float64)) for i in (0, 1))
    values = sn.function([], landscape.f(x, y), device="numpy")()
    return {"name": name, "points": _rounded(points), "values": [float(f"{v:.4g}") for v in values]}


def _ellipse(covariance: Array) -> list[float]:
    """Half the axes of one deviation, and the angle of the first: [a, b, radians]."""
    squares, axes = np.linalg.eigh(covariance)
    a, b = np.sqrt(np.maximum(squares[::-1], 0))
    return [float(f"{v:.5g}") for v in (a, b, np.arctan2(axes[1, 1], axes[0, 1]))]


def _rounded(points: Array) -> list[list[float]]:
    return [[float(f"{v:.5g}") for v in point] for point in points]
