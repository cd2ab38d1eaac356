"""Medians, quartiles, ratios and their bootstrap intervals, from raw samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
ENOUGH = 6  # rounds, for an interval to be trusted
OFTEN = 0.05  # the share of outliers from which a reader is told
FENCE = 1.5  # interquartile ranges beyond the third quartile, after Tukey
FAR = 1.25  # medians: what is below is no outlier, however alike the others are
Rounds: TypeAlias = Sequence[Sequence[float]]
Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Interval:
    """An estimate and the bounds of its interval."""

    value: float
    low: float
    high: float

    def spans(self, x: float) -> bool:
        """Whether x lies within the bounds."""
        return self.low <= x <= self.high


@dataclass(frozen=True)
class Outliers:
    """How many of the samples are far too slow, as a share, and the slowest over the median."""

    share: float
    worst: float


def quartiles(rounds: Rounds) -> tuple[float, float, float]:
    """The median of the rounds' medians, between the quartiles of all samples.

    Every round weighs alike, however many samples fitted into it: a slow round has few.
    """
    samples = np.concatenate([np.asarray(each) for each in rounds])
    weights = np.concatenate([np.full(len(each), 1 / len(each)) for each in rounds])
    low, high = np.quantile(samples, (0.25, 0.75), weights=weights, method="inverted_cdf")
    return float(low), median(rounds), float(high)


def outliers(rounds: Rounds) -> Outliers:
    """The samples above FAR medians, and by FENCE interquartile ranges above the third quartile."""
    samples = np.concatenate([np.asarray(each) for each in rounds])
    low, middle, high = np.quantile(samples, (0.25, 0.5, 0.75))
    far = samples > max(high + FENCE * (high - low), FAR * middle)
    return Outliers(float(far.mean()), float(samples.max() / middle))


def round_medians(rounds: Rounds) -> Array:
    """The median of each round: samples within one are not independent, rounds nearly are."""
    return np.array([np.median(each) for each in rounds])


def median(rounds: Rounds) -> float:
    """The median of the rounds' medians."""
    return float(np.median(round_medians(rounds)))


def median_interval(rounds: Rounds, seed: int = 0) -> Interval:
    """The median of the rounds' medians, with its interval over rounds."""
    return _interval(*_ratio(rounds, [], seed))


def ratio_to_best(ours: Rounds, others: Sequence[Rounds], seed: int = 0) -> Interval:
    """Our time over that of the fastest other; below 1 is faster.

    Rounds are interleaved, so round i of all contenders is resampled together, and the fastest
    other is chosen anew in each resample.
    """
    return _interval(*_ratio(ours, others, seed))


def change(
    before: tuple[Rounds, Sequence[Rounds]], now: tuple[Rounds, Sequence[Rounds]], seed: int = 0
) -> Interval:
    """The ratio to the best other now, over that of before; above 1 has become slower.

    Each is `(ours, others)`; with no others, medians are compared instead of ratios. The two runs
    are resampled independently.
    """
    was, was_resampled = _ratio(*before, seed)
    now_is, now_resampled = _ratio(*now, seed + 1)
    return _interval(now_is / was, now_resampled / was_resampled)


def _ratio(ours: Rounds, others: Sequence[Rounds], seed: int) -> tuple[float, Array]:
    """Our median over the least of the others', which is 1 if there are none; the resampled."""
    rounds = min(len(each) for each in (ours, *others))
    mine = round_medians(ours)[:rounds]
    theirs = np.array([round_medians(each)[:rounds] for each in others] or [np.ones(rounds)])
    picks = _picks(rounds, seed)
    best = np.median(theirs[:, picks], axis=2).min(axis=0)
    value = float(np.median(mine) / np.median(theirs, axis=1).min())
    return value, np.median(mine[picks], axis=1) / best


def _picks(rounds: int, seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, rounds, (RESAMPLES, rounds))


def _interval(value: float, resampled: Array) -> Interval:
    low, high = np.quantile(resampled, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(value, float(low), float(high))


def verdict(ratio: Interval) -> str:
    """`1.90x faster`, `1.20x slower`, or `no difference` if the interval spans 1."""
    if ratio.spans(1):
        return "no difference"
    if ratio.value < 1:
        return f"{1 / ratio.value:.2f}x faster"
    return f"{ratio.value:.2f}x slower"
