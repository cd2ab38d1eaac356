"""ONNX's own test cases, with what each of them feeds and expects."""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

PAGE = Path(__file__).parent.parent / "docs" / "onnx.md"
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
OWN = {1, 2, 3, 6, 7, 9, 11}  # float32, uint8, int8, int32, int64, bool, float64


class Case(NamedTuple):
    """A model, and sets of inputs and outputs."""

    name: str
    model: Any
    sets: list[tuple[list[Any], list[Any]]]
    tolerance: tuple[float, float]

    @property
    def is_ours(self) -> bool:
        """Whether its inputs and outputs are tensors of the plain dtypes."""
        values = [*self.model.graph.input, *self.model.graph.output]
        return all(
            x.type.WhichOneof("value") == "tensor_type" and x.type.tensor_type.elem_type in OWN
            for x in values
        )


@cache
def tests() -> list[Any]:
    """The cases, in the order of their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [test for kind in KINDS for test in load_model_tests(kind=kind)]
    return sorted(found, key=lambda test: test.name)


def case(test: Any) -> Case:
    """A case, read from its files if it has some."""
    tolerance = (test.rtol, test.atol)
    if test.model is not None:
        sets = [([plain(x) for x in a], [plain(x) for x in b]) for a, b in test.data_sets]
        return Case(test.name, test.model, sets, tolerance)
    folder = Path(test.model_dir)
    model = onnx.load(folder / "model.onnx")
    sets = [
        (list(_files(part, "input", model.graph.input)),
         list(_files(part, "output", model.graph.output)))
        for part in sorted(folder.glob("test_data_set*"))
    ]  # fmt: skip
    return Case(test.name, model, sets, tolerance)


def _files(folder: Path, what: str, declared: Any) -> Iterator[Any]:
    for i in range(len(list(folder.glob(f"{what}_*.pb")))):
        kind = declared[i].type.WhichOneof("value")
        data = (folder / f"{what}_{i}.pb").read_bytes()
        if kind == "tensor_type":
            yield onnx.numpy_helper.to_array(onnx.TensorProto.FromString(data))
        elif kind == "sequence_type":
            yield onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(data))
        else:
            yield onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(data))


def plain(x: Any) -> Any:
    """A tensor of a file as an array."""
    if isinstance(x, onnx.TensorProto):
        return onnx.numpy_helper.to_array(x)
    return x


def check(case: Case, wanted: list[Any], got: Any) -> None:
    """Raise AssertionError unless the results are what the case expects."""
    Runner.assert_similar_outputs(wanted, list(got), *case.tolerance)


@cache
def listed() -> dict[str, str]:
    """Pattern -> reason, of the cases that the page says do not pass."""
    text = PAGE.read_text(encoding="utf-8").partition("## Cases of ONNX's own suite")[2]
    return dict(re.findall(r"^\| `(test_[^`]*)` \| (.+) \|$", text, re.M))


def pattern_of(name: str) -> str | None:
    """The pattern of the page that a name is of."""
    return next((p for p in listed() if fnmatch.fnmatchcase(name, p)), None)
