"""Data in one file each: arrays, tables, text; what is wrong in them is told with its place."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DataError, DependencyError
from staticnet.ir.hints import install
from staticnet.ops.arguments import as_size
from staticnet.train.data.arrays import ArraySource
from staticnet.train.data.source import Array

File = str | os.PathLike[str]
PARQUET = (".parquet", ".pq")
PACKED = (*PARQUET, ".gz", ".bz2", ".zip", ".xz", ".zst", ".tar")  # what is read is not text


def npy(file: File) -> Array:
    """The array of a `.npy` file, mapped into memory: only what is used is read.

    Raises:
        DataError: if the file is damaged, or holds Python objects.
        OSError: if it cannot be read.
    """
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        raise DataError(
            f"{os.fspath(file)}: no readable .npy file: {error}; write it again by numpy.save"
        ) from None
    if isinstance(array, np.ndarray):
        return array
    with array:
        raise DataError(
            f"{os.fspath(file)}: an archive of {', '.join(array.files) or 'nothing'}; take what it "
            "holds by numpy.load(file)[name], and write that by numpy.save"
        )


class Text(ArraySource):
    """Pieces of a text, characters as numbers: x is a piece, y the same a character further on.

    `characters` are those of the text in order, or those given; `encode` and `decode` go between.

    x, y: int64 [n, length]

    Raises:
        DataError: if the file is no UTF-8 text, is too short, or has a character that is not among
            those given; names the line.
        ArgumentError: if `characters` are no single ones, or one is there twice.
        OSError: if it cannot be read.
    """

    def __init__(self, file: File, length: int, characters: Sequence[str] | None = None) -> None:
        self.file, self.length = Path(file), as_size(length, "Text: length")
        given = None if characters is None else _characters(characters)
        text = read_text(self.file)
        if len(text) <= self.length:
            raise DataError(
                f"{self.file}: {len(text)} characters hold no piece of {self.length} and the next "
                "one; take shorter pieces or a longer text"
            )
        self.characters = sorted(set(text)) if given is None else given
        codes = self.encode(text)
        pieces = (len(codes) - 1) // self.length
        end = pieces * self.length
        shape = (pieces, self.length)
        super().__init__(codes[:end].reshape(shape), codes[1 : end + 1].reshape(shape))

    def encode(self, text: str) -> Array:
        """The number of each character.  -> int64 [n]

        Raises:
            DataError: if one is not among `characters`.
        """
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        known = np.array([ord(c) for c in self.characters], np.uint32)
        order = np.argsort(known)
        places = np.minimum(np.searchsorted(known[order], points), len(known) - 1)
        codes = order[places].astype(np.int64)
        wrong = np.flatnonzero(known[codes] != points)
        if wrong.size:
            at = int(wrong[0])
            raise DataError(
                f"{self.file}: line {text.count(chr(10), 0, at) + 1}: {text[at]!r} is none of the "
                f"{len(self.characters)} characters; give them all, or leave them out"
            )
        return codes

    def decode(self, codes: Any) -> str:
        """The text of numbers.

        Raises:
            DataError: if one is no number of a character.
        """
        numbers, count = np.ravel(codes), len(self.characters)
        wrong = np.flatnonzero(~((numbers >= 0) & (numbers < count) & (numbers == numbers // 1)))
        if wrong.size:
            raise DataError(
                f"decode: {numbers[wrong[0]]} is no number of one of {count} characters; take the "
                "argmax of a model's scores"
            )
        return "".join(self.characters[int(code)] for code in numbers)


def _characters(given: Sequence[str]) -> list[str]:
    """The characters that a user gives, each once."""
    found = list(given)
    single = all(isinstance(each, str) and len(each) == 1 for each in found)
    if not found or not single or len(set(found)) < len(found):
        raise ArgumentError(
            f"Text: characters are single ones, each once, in a text or a list, not {given!r:.60}"
        )
    return found


def read_text(file: Path) -> str:
    """A text file in UTF-8.

    Raises:
        DataError: if it is none; names the line and the byte.
    """
    data = file.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file}: line {line}: byte {error.start} is {data[error.start]:#04x}, which is no "
            "UTF-8; convert the file, as iconv -t utf-8 does"
        ) from None


class Table(ArraySource):
    """Rows of a CSV or Parquet file: numbers in columns, and a column to be predicted.

    Read by pandas, or by polars if that is what is installed. `columns` are the inputs, by default
    all others. Targets that are text are classes, `classes` in order; whole ones are int64.

    x: float32 [n, columns]; y: int64 [n], or float32 [n] of fractions

    Raises:
        DataError: if the file is damaged, a column is missing, or a value is missing or no number;
            names the row and the column.
        DependencyError: if neither library is installed, or what pandas needs for Parquet.
        ArgumentError: if it is no file, or there is no column beside the target.
    """

    def __init__(self, file: File, target: str, columns: Sequence[str] | None = None) -> None:
        if not isinstance(file, str | os.PathLike):
            raise ArgumentError(
                f"Table: takes a file, not {type(file).__name__}; a frame's columns are data "
                f"themselves: fit((frame.drop(columns={target!r}), frame[{target!r}]))"
            )
        if isinstance(columns, str):
            raise ArgumentError(f"Table: columns is a list of names: [{columns!r}]")
        self.file = Path(file)
        table = read_table(self.file)
        chosen = [name for name in table if name != target] if columns is None else list(columns)
        for name in (target, *chosen):
            if name not in table:
                raise DataError(
                    f"{self.file}: no column {name!r}; there are {', '.join(map(repr, table))}"
                )
        if not chosen:
            raise ArgumentError(f"Table: {self.file} has no columns beside {target!r}")
        self.columns = chosen
        self.classes: list[str] = []
        inputs = [self._numbers(name, table[name]) for name in chosen]
        super().__init__(
            np.stack(inputs, axis=1).astype(np.float32), self._targets(target, table[target])
        )

    def _numbers(self, name: str, values: Array) -> Array:
        if values.dtype.kind in "biuf" and not np.isnan(values.astype(float)).any():
            return values.astype(np.float64)
        found = np.zeros(len(values))
        for row, value in enumerate(values):
            try:
                found[row] = np.nan if value is None else float(value)
            except (TypeError, ValueError):
                found[row] = np.nan
            if np.isnan(found[row]):
                told = "a missing value" if _missing(value) else f"{value!r}, which is no number"
                raise DataError(
                    f"{self.file}: row {row + 1}, column {name!r}: {told}; fill it, or leave the "
                    "row or the column out"
                )
        return found

    def _targets(self, name: str, values: Array) -> Array:
        if values.dtype.kind in "OUST" and any(isinstance(v, str) for v in values):
            for row, value in enumerate(values):
                if not isinstance(value, str):
                    raise DataError(
                        f"{self.file}: row {row + 1}, column {name!r}: {value!r} among names of "
                        "classes; fill it, or leave the row out"
                    )
            self.classes = sorted(set(values))
            numbers = {each: i for i, each in enumerate(self.classes)}
            return np.array([numbers[value] for value in values], np.int64)
        found = self._numbers(name, values)
        whole = values.dtype.kind in "biu"
        return found.astype(np.int64 if whole else np.float32)


def _missing(value: Any) -> bool:
    """Whether a value of a table is none: None, NaN, or a library's own, which equals nothing."""
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA
        return True
    except ValueError:  # an array
        return False


def read_table(file: Path) -> dict[str, Array]:
    """The columns of a CSV or Parquet file, by name.

    Raises:
        DataError: if the file is damaged.
        DependencyError: if neither pandas nor polars is installed, or what they need for Parquet.
    """
    library = _reader(file.suffix.lower() in PARQUET)
    module = importlib.import_module(library)
    read = module.read_parquet if file.suffix.lower() in PARQUET else module.read_csv
    try:
        frame = read(file)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except UnicodeDecodeError as error:
        if file.suffix.lower() not in PACKED:
            read_text(file)  # says where
        raise DataError(f"{file}: no readable table: {error}; write it again") from None
    except Exception as error:  # each library has errors of its own
        told = " ".join(str(error).split())
        raise DataError(f"{file}: no readable table: {told}; write it again") from None
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def _reader(parquet: bool) -> str:
    """The library that reads a file: pandas, which needs another one for Parquet, or polars."""
    needed = _has("pyarrow") or _has("fastparquet") or not parquet
    if _has("pandas") and needed:
        return "pandas"
    if _has("polars"):
        return "polars"
    if _has("pandas"):
        raise DependencyError(
            "Table: pandas reads Parquet by pyarrow or fastparquet, and neither was found; "
            f"{install('data')}"
        )
    raise DependencyError(f"Table: neither pandas nor polars found; {install('data')}")


def _has(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
