"""What axe-core finds in the pages that staticnet writes: nothing serious, whatever the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from browsing import SERIOUS, axe
from report_cases import training_step

import staticnet as sn
from staticnet.cli.landscapes import LANDSCAPES
from staticnet.cli.optimizers import described
from staticnet.explain import derivation_page, sweep_page
from staticnet.report import comparison_page, document_page, predictions_page
from staticnet.report.paths import paths_page


def derivation() -> str:
    return derivation_page.page(sn.derive("sin(x)*x + tanh(w*x)^2", "x"))


def sweep() -> str:
    return sweep_page.page(sn.backprop("tanh(w*x + b)**2", w=2, x=0.5, b=-0.5))


def paths() -> str:
    return paths_page("Paths", [described(LANDSCAPES[0], 5, "numpy")])


def predictions() -> str:
    rng = np.random.default_rng(0)
    return predictions_page(
        "Predictions", rng.random((9, 4, 4)), np.arange(9) % 3, rng.random((9, 3)), list("abc")
    )


def comparison() -> str:
    columns = [{"key": "s", "label": "time", "unit": "s", "place": "always"}]
    rows = [{"name": "ours", "values": {"s": 1e-6}}, {"name": "theirs", "values": {"s": 2e-6}}]
    step = training_step()
    given = {"name": "it", "columns": columns, "rows": rows, "warnings": ["busy"]}
    return comparison_page(given | {"document": step.document()})


def report() -> str:
    return document_page(training_step().document())


@pytest.mark.slow
@pytest.mark.parametrize("made", [derivation, sweep, paths, predictions, comparison, report])
def test_axe_finds_nothing_serious(opened: Any, made: Callable[[], str]) -> None:
    checker, written = axe(), made()
    for width, scheme in ((1280, "light"), (390, "light"), (1280, "dark"), (390, "dark")):
        page = opened(written, size=(width, 844), color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(checker)
        assert page.evaluate(SERIOUS) == [], (width, scheme)
