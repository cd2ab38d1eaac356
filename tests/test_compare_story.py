"""What a comparison says of its figures in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from staticnet.compare import story

WHOLE: dict[str, Any] = {
    "time": 1e-3, "host": None, "speedup": 4.0, "launches": 20, "allocations": 1, "peak": 2048,
    "bytes_moved": 1024, "compile": 0.5, "payback": 170, "of_all_interval": None, "of_all": None,
    "verdict": "",
}  # fmt: skip


def rows(**changes: Any) -> list[dict[str, Any]]:
    dynamic = {"time": 4e-3, "host": 1e-3, "speedup": None, "launches": 1300, "allocations": 70}
    made = {
        "dynamic": WHOLE | dynamic,
        "static, no passes": WHOLE | {"time": 2e-3, "speedup": 0.5, "launches": 90},
        "static, all passes": WHOLE,
        "static, many steps a call": WHOLE | {"time": 9e-4},
        "without fusion": WHOLE | {"of_all": 1.5, "of_all_interval": [1.2, 1.8]},
        "without cse": WHOLE | {"of_all": 1.9, "of_all_interval": [0.9, 2.5]},
    }
    return [{"name": name, "values": values | changes} for name, values in made.items()]


def test_the_story_has_the_rows_figures() -> None:
    told = story.told(rows())
    assert len(told) == 5
    assert "1,300 calls and 70 new arrays a step, which takes 4.0 ms, 25% of them" in told[0]
    assert told[1].endswith("2.0 ms, only 0.50 times as fast as dynamically")
    assert "20 launches of 90" in told[2]
    assert told[2].endswith("1.0 ms, 4.0 times as fast as dynamically")
    assert told[3].startswith("without fusion a step takes 1.5 times as long, the most of all")
    assert told[3].endswith("compiling takes 500 ms, paid back after 170 steps")


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"payback": "never"}, "paid back"),
        ({"compile": None}, "compiling takes"),
        ({"speedup": None}, "as fast"),
        ({"of_all_interval": None}, "without"),
        ({"verdict": "the same program"}, "without"),
    ],
)
def test_what_is_not_known_is_not_told(changes: Any, missing: str) -> None:
    assert missing in " ".join(story.told(rows()))
    assert missing not in " ".join(story.told(rows(**changes)))


def test_of_some_contenders_alone_as_much_is_told_as_they_show() -> None:
    for row in rows():
        assert len(story.told([row])) == int(row["name"][:7] != "without")
    assert story.told([]) == []
