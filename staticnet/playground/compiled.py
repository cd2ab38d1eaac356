"""What a tab's step became: its page, its kernels with their C, its passes, and itself as C."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.function import Function
from staticnet.playground.engines import Engine
from staticnet.report.charts import arena_chart
from staticnet.report.page import document_page


def page(engine: Engine | None) -> str:
    """The page of the compiled step: its graph in boxes, kernels, memory, passes."""
    return document_page(_step(engine).document())


def details(engine: Engine | None) -> dict[str, Any]:
    """Kernels with their source, passes with what they did, and a picture of the arena."""
    document = _step(engine).document()
    sources = document["sources"]
    return {
        "totals": document["totals"],
        "kernels": [
            {
                "name": f"kernel {k['number']}: {k['kind']} {_shape(k['domain'])}",
                "module": k["module"],
                "statements": k["statements"],
                "source": "" if k["source"] is None else sources[k["source"]],
            }
            for k in document["kernels"]
        ],
        "passes": [
            {k: p[k] for k in ("name", "before", "after", "seconds")} for p in document["passes"]
        ],
        "arena": arena_chart(document),
    }


def exported(engine: Engine | None) -> bytes:
    """The step as one C program with its header, in a zip file; its state begins as it is now."""
    with tempfile.TemporaryDirectory() as folder:
        files = _step(engine).export_c(Path(folder) / "step.c")
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.name)
    return held.getvalue()


def _step(engine: Engine | None) -> Function:
    if engine is None:
        raise ArgumentError("playground: the step is not compiled yet; ask again in a moment")
    if engine.function is None:
        raise ArgumentError("playground: dynamic execution compiles no step; switch to static")
    return engine.function


def _shape(domain: list[int]) -> str:
    return " × ".join(map(str, domain)) or "one number"
