"""The figures of what a person waits for are all there."""

from __future__ import annotations

import pytest

from bench import latency


@pytest.mark.slow
def test_every_wait_has_its_figure(capsys: pytest.CaptureFixture[str]) -> None:
    latency.main(["--nodes", "50", "--rounds", "1"])
    lines = [line.rsplit("  ", 1)[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "import staticnet", "staticnet doctor", "a page of 50 nodes", "opening it",
        "profile / step of mlp",
    ]  # fmt: skip
