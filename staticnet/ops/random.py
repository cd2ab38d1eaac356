"""Random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
2011) as one op of a key and a counter, and distributions composed from its bits.

Element e of a draw is word e mod 4 of the block with counter (e div 4, step counter): the same bits
in any order of execution, on any backend and on resume.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from staticnet.errors import ArgumentError, DTypeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import (
    DIGITS,
    FLOAT32,
    FLOAT64,
    INT64,
    UINT32,
    UINT64,
    DType,
    as_dtype,
    compute_dtype,
    is_floating,
)
from staticnet.ir.types import Shape, TensorType, as_shape
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_int, broadcast_shapes, check_holds
from staticnet.ops.arithmetic import maximum, minimum, nextafter
from staticnet.ops.base import TensorOp, apply, as_values, constant, promoted
from staticnet.ops.batching import align
from staticnet.ops.creation import iota
from staticnet.ops.promotion import is_scalar
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to
from staticnet.ops.sorting import argsort
from staticnet.ops.state import Variable, variable
from staticnet.ops.transcendental import cos, log, sqrt
from staticnet.ops.widening import rounded_once

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF


def philox4x32(counter: Any, key: Any, rounds: int = 10, xp: Any = np) -> list[Any]:
    """Four uint32 words from a counter of four and a key of two, each an array or a number."""
    c, k = ([xp.asarray(word, np.uint64) for word in words] for words in (counter, key))
    for _ in range(rounds):
        p0, p1 = c[0] * np.uint64(_MULTIPLIERS[0]), c[2] * np.uint64(_MULTIPLIERS[1])
        high0, low0 = p0 >> np.uint64(32), p0 & np.uint64(_LOW)
        high1, low1 = p1 >> np.uint64(32), p1 & np.uint64(_LOW)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [word + np.uint64(weyl) & np.uint64(_LOW) for word, weyl in zip(k, _WEYL, strict=True)]
    return [word.astype(np.uint32) for word in c]


def random_words(key: Any, counter: Any, size: int, xp: Any = np, first: int = 0) -> Any:
    """`size` words of each stream that (key, counter) names, from word `first` on.

    first: a multiple of 4
    key and counter: numbers, or arrays that broadcast to [*k] -> uint32 [*k, size]
    """
    block = xp.arange(first // 4, first // 4 - (-size // 4), dtype=np.uint64)
    counter, key = (xp.asarray(word, np.uint64)[..., None] for word in (counter, key))
    words = xp.stack(_words_of_blocks(key, counter, block, xp), axis=-1)
    return words.reshape((*words.shape[:-2], 4 * block.size))[..., :size]


def random_words_at(key: Any, counter: Any, places: Any, xp: Any = np) -> Any:
    """The words at some places of the stream that two numbers name.  places: [*s] -> uint32 [*s]"""
    places = xp.asarray(places, np.uint64)
    words = xp.stack(
        _words_of_blocks(np.uint64(key), np.uint64(counter), places >> np.uint64(2), xp)
    )
    return xp.take_along_axis(words, (places & np.uint64(3)).astype(np.int64)[None], 0)[0]


def _words_of_blocks(key: Any, counter: Any, block: Any, xp: Any) -> Any:
    """The four words of each block, arrays of one shape.  key, counter, block: uint64 [*s]"""
    low, high = np.uint64(_LOW), np.uint64(32)
    words = philox4x32(
        (block & low, block >> high, counter & low, counter >> high),
        (key & low, key >> high),
        xp=xp,
    )
    return xp.broadcast_arrays(*words)


@dataclass(frozen=True)
class RandomBits(TensorOp, name="random_bits"):
    """y[k, e] = word e mod 4 of Philox 4x32-10 at (e div 4, counter[k]) under key[k].

    key and counter: uint64, of shapes that broadcast to [*k] -> y: uint32 [*k, *shape]
    """

    shape: Shape
    differentiable = False
    arity = 2

    def infer(self, *operands: TensorType) -> TensorType:
        for operand in operands:
            if operand.dtype != UINT64:
                raise DTypeError(f"key and counter must be uint64, not {operand}")
        keys = broadcast_shapes(*(operand.shape for operand in operands))
        return TensorType(UINT32, (*keys, *self.shape))

    def eval(self, xp: Any, key: Any, counter: Any) -> Any:
        words = random_words(key, counter, int(size_of(self.shape)), xp)
        return words.reshape((*words.shape[:-1], *self.shape))

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(self, *align(batched, operands))


@dataclass(frozen=True, eq=False)
class Key:
    """What names a random draw: a stream (`key`) and a place in it (`counter`), uint64 scalars.

    Of many keys, as `split` gives, both are arrays: such a key has a length, is indexed, and goes
    through `vmap` and loops, key by key; drawn from as it is, it gives an array for each.
    """

    key: Value
    counter: Value
    _fields: ClassVar[tuple[str, ...]] = ("key", "counter")  # of a tree's container

    def __len__(self) -> int:
        if not self.key.ndim:
            raise ArgumentError("key: one key is no array of them, as sn.random.split gives")
        length = self.key.shape[0]
        if not isinstance(length, int):
            raise ArgumentError(f"key: there are {length} keys, a number known only when it is fed")
        return length

    def __getitem__(self, index: Any) -> Key:
        return Key(self.key[index], self.counter[index])

    def __iter__(self) -> Iterator[Key]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return True


def key(seed: int, counter: Any = 0) -> Key:
    """The key of a stream. Equal keys draw equal numbers; `fold_in` makes others of it.

    Raises:
        ArgumentError: if the seed is no int in [0, 2**64).
    """
    return Key(constant(as_seed(seed), UINT64), astype(counter, UINT64))


def as_seed(seed: Any) -> int:
    """An int in [0, 2**64).

    Raises:
        ArgumentError: if it is none.
    """
    return as_int(seed, "a seed", 0, 2**64 - 1, "an int in [0, 2**64)")


def mix(seed: int, number: int) -> int:
    """Another seed, from a seed and a number: 64 bits of Philox, on the host."""
    words = random_words(as_seed(seed), as_seed(number), 2)
    return int(words[0]) | int(words[1]) << 32


def fold_in(k: Key, number: Any) -> Key:
    """Another key, from a key and a number, an int or an integer node: 64 bits of Philox.

    Of an array of numbers, as many keys.

    Raises:
        ArgumentError: if the number is an int outside [0, 2**64).
    """
    _check_key(k)
    place = number if isinstance(number, Value) else constant(as_seed(number), UINT64)
    bits = apply(RandomBits((2,)), k.key, astype(place, UINT64))
    low, high = astype(bits[..., 0], UINT64), astype(bits[..., 1], UINT64)
    new = low | (high << 32)
    return Key(new, broadcast_to(k.counter, new.shape))


def split(k: Key, num: int | Dim = 2) -> Key:
    """`num` keys from one, in an array of keys: `a, b = split(k)`, `split(k, n)[i]`.

    None of them is one that `fold_in` gives of a number below 2**63.

    Raises:
        ShapeError: if `num` is no dim.
    """
    numbers = astype(iota(as_shape(num, "num")), UINT64) | np.uint64(2**63)
    return fold_in(k, numbers)


class _Scope(threading.local):
    """Which of many equal computations is being traced, as nodes: see `indexed`."""

    indices: tuple[Value, ...] = ()


_scope = _Scope()


@contextmanager
def indexed(index: Value) -> Iterator[None]:
    """What generators draw inside differs by `index`: the step of a loop, the place in a batch."""
    saved = _scope.indices
    _scope.indices = (*saved, index)
    try:
        yield
    finally:
        _scope.indices = saved


class Generator:
    """A source of keys for what draws anew at every run, as dropout does.

    All its keys share one counter variable, which rises by one with each run of a function that
    reads it; each call of `key()` gives another stream, and each step of a loop draws anew. In
    dynamic execution each call is a run: the stream is the first, and the counter rises at once.
    """

    def __init__(self, seed: int) -> None:
        self.counter: Variable = variable(np.uint64(0), "random.counter", trainable=False)
        self.counter.default_update = self.counter + 1  # type: ignore[assignment]
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Give the keys of another seed from now on, as a copy of what drops does."""
        self.seed = as_seed(seed)
        self._calls = 0
        self._first = np.uint64(mix(self.seed, 1))

    def key(self, like: Value | None = None) -> Key:
        """A key that no other call gave, for draws that meet `like`."""
        if like is not None and not like.is_symbolic:
            count = self.counter.value
            self.counter.value = count + np.uint64(1)
            return Key(*as_values(like, self._first, count)[1:])
        self._calls += 1
        drawn = Key(constant(mix(self.seed, self._calls), UINT64), self.counter)
        for index in _scope.indices:
            drawn = fold_in(drawn, index)
        return drawn


def random_bits(k: Key, shape: Any) -> Value:
    """y = 32 random bits an element.  -> y: uint32 [*shape]"""
    _check_key(k)
    return apply(RandomBits(as_shape(shape)), k.key, k.counter)


def _check_key(k: Any) -> None:
    if not isinstance(k, Key):
        raise ArgumentError(f"expected a key from sn.random.key(seed), got {k!r:.60}")


def uniform(
    k: Key, shape: Any = (), dtype: Any = FLOAT32, low: Any = 0.0, high: Any = 1.0
) -> Value:
    """y ~ U[low, high): never below low nor at high, in any dtype.  -> y: [*shape]

    Drawn from as many random bits as the dtype has digits, 8, 11, 24 or 53, and scaled in at least
    float32. With arrays of limits, low < high is up to the caller; equal numbers are the result.

    Raises:
        DTypeError: if the dtype is not floating-point.
        ArgumentError: if low > high, or the dtype has no number in the range or not its width.
    """
    target, drawn = as_dtype(dtype), as_shape(shape)
    if not is_floating(target):
        raise DTypeError(f"uniform: takes a floating-point dtype, not {target}")
    if not is_scalar(low) or not is_scalar(high):
        return _between(_unit(k, drawn, target), low, high)
    low, high = float(low), float(high)
    if (low, high) == (0, 1):
        return _unit(k, drawn, target)
    wide = compute_dtype(target)
    if not high - low <= float(np.finfo(wide).max):
        raise ArgumentError(f"uniform: the width of [{low}, {high}) is not finite in {wide}")
    least, most = limits_within(low, high, target)
    y = astype(_unit(k, drawn, wide) * (high - low) + low, target)
    return minimum(maximum(y, least), most)


def _between(unit: Value, low: Any, high: Any) -> Value:
    unit, low, high = promoted("uniform", unit, low, high)
    y = _scaled(unit, low, high)
    return where(y < high, y, nextafter(high, low))


@rounded_once(3)
def _scaled(unit: Any, low: Any, high: Any) -> Value:
    return unit * (high - low) + low


def limits_within(low: float, high: float, dtype: DType) -> tuple[Any, Any]:
    """The least and the greatest number of a floating dtype in [low, high), as its scalars.

    Of an empty range with equal ends both are that end.

    Raises:
        ArgumentError: if there is none.
    """
    with np.errstate(over="ignore"):
        least, most = (np.asarray(end).astype(dtype) for end in (low, high))
    if low == high:
        return least[()], least[()]
    if float(least) < low:
        least = np.nextafter(least, dtype.type(np.inf))
    if float(most) >= high:
        most = np.nextafter(most, dtype.type(-np.inf))
    if not (low < high and least <= most):
        raise ArgumentError(f"uniform: no {dtype} lies in [{low}, {high})")
    return least[()], most[()]


def _unit(k: Key, shape: Shape, dtype: DType) -> Value:
    """Even on the dtype's multiples of 2**-digits in [0, 1).  -> y: [*shape]"""
    if dtype == FLOAT64:
        words = random_bits(k, (*shape, 2))
        high, low = astype(words[..., 0] >> 5, FLOAT64), astype(words[..., 1] >> 6, FLOAT64)
        return (high * 67108864.0 + low) * 2.0**-53
    digits = DIGITS[dtype]
    unit = astype(random_bits(k, shape) >> (32 - digits), FLOAT32) * 2.0**-digits
    return astype(unit, dtype)


def normal(k: Key, shape: Any = (), dtype: Any = FLOAT32, mean: Any = 0.0, std: Any = 1.0) -> Value:
    """y ~ N(mean, std**2), by Box and Muller's transform; 16 bits round once.  -> y: [*shape]

    Its tails end where the random bits do, at 5.8 standard deviations, or 8.6 in float64.

    Raises:
        ArgumentError: if std is a negative number.
        DTypeError: if the dtype is not floating-point.
    """
    new, target = as_shape(shape), as_dtype(dtype)
    if is_scalar(std) and not std >= 0:
        raise ArgumentError(f"normal: std must be a number >= 0, not {std!r:.60}")
    if not is_floating(target):
        raise DTypeError(f"normal: takes a floating-point dtype, not {target}")
    pair = _unit(k, (*new, 2), compute_dtype(target))
    radius = sqrt(log(1 - pair[..., 0]) * -2)  # of a number in (0, 1]
    y = radius * cos(pair[..., 1] * (2 * math.pi))
    if not is_scalar(mean) or not is_scalar(std):
        return astype(y, target) * std + mean
    if (mean, std) != (0, 1):
        y = y * float(std) + float(mean)
    return astype(y, target)


def bernoulli(k: Key, p: Any, shape: Any = ()) -> Value:
    """y is True with probability p, to 24 bits; never if p is 0, always if 1.  -> y: bool [*shape]

    Raises:
        ArgumentError: if p is a number outside [0, 1].
    """
    if is_scalar(p) and not 0 <= p <= 1:
        raise ArgumentError(f"bernoulli: p must be a probability, not {p!r:.60}")
    return uniform(k, shape) < p


def randint(k: Key, low: int, high: int, shape: Any = (), dtype: Any = INT64) -> Value:
    """y, an integer in [low, high), each with probability within 2**-32 of even.  -> y: [*shape]

    Raises:
        ArgumentError: if the range is empty or wider than 2**32.
        DTypeError: if the dtype does not hold each of its integers.
    """
    first = as_int(low, "randint: low", -(2**63), 2**64)
    span = as_int(high, "randint: high", -(2**63), 2**64) - first
    target = as_dtype(dtype)
    if not 0 < span <= 2**32:
        raise ArgumentError(f"randint: [{low}, {high}) must hold 1 to 2**32 integers")
    check_holds("randint", target, first, first + span - 1)
    scaled = (astype(random_bits(k, shape), UINT64) * span) >> 32
    return astype((scaled if target == UINT64 else astype(scaled, INT64)) + first, target)


def permutation(k: Key, n: int | Dim) -> Value:
    """y = 0 … n-1 in random order: the argsort of 64 random bits each.  -> y: int64 [n]"""
    words = astype(random_bits(k, (*as_shape(n), 2)), UINT64)
    return argsort(words[..., 0] | (words[..., 1] << 32))


def permutation_array(seed: int, epoch: int, n: int) -> np.ndarray[Any, Any]:
    """On the host, what `permutation(key(seed, epoch), n)` gives."""
    words = random_words(as_seed(seed), as_seed(epoch), 2 * n).astype(np.uint64).reshape(n, 2)
    return np.argsort(words[:, 0] | (words[:, 1] << np.uint64(32)), kind="stable")
