"""The page's figures of imported networks are those of the samples beside it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def test_the_table_is_made_of_the_samples() -> None:
    from bench import onnx

    text = (ROOT / "bench" / "results" / "onnx_one_core.json").read_text(encoding="utf-8")
    found = json.loads(text)["records"]
    page = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    assert "\n".join(onnx.table(found)) in page
    assert onnx.means(found).capitalize() in page.replace("\n", " ")
    assert len(found) == 2 * len(onnx.NAMES)
    rounds = {len(c["seconds"]) for r in found for c in r["contenders"].values()}
    assert min(rounds) >= 10


def test_the_page_says_how_its_table_is_made(monkeypatch: Any, capsys: Any) -> None:
    from bench import onnx

    page = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    (options,) = re.findall(r"`python -m bench.onnx (--table[^`]*)`", page)
    monkeypatch.chdir(ROOT)
    onnx.main(shlex.split(options))
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) > 20
    assert "\n".join(row for row in rows if row.startswith("|")) in page
