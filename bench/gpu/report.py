"""The table of a GPU's results: the ratio to the best peer, and the share of the floor.

`python -m bench.gpu.report FILE ...` prints it again from files that `--out` wrote;
`--markdown OUT.md --notes NOTES.md` writes it as a page that begins with the notes.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.program import OURS

Record = dict[str, Any]
COLUMNS = ("workload", "mode", "contender", "wall", "device", "of best peer", "of floor", "note")


def rates(records: Sequence[Record]) -> str:
    """What this GPU reaches."""
    gpu = next((r for r in records if r["kind"] == "gpu"), None)
    if gpu is None:
        return "what this GPU reaches was not measured"
    size, copy = gpu["copies"][-1]
    products = ", ".join(f"{k} products {v / 1e12:.1f} TFLOP/s" for k, v in gpu["products"].items())
    return f"{gpu['name']}: copies of {size >> 20} MiB {copy / 1e9:.0f} GB/s, {products}"


def table(records: Sequence[Record]) -> str:
    """One line a contender. Times are medians of a step; the floor is of bytes or of FLOPs.

    The ratio is of the device's times where both have them, else of the wall clock's.
    """
    rows = [COLUMNS, *_rows(records)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown(notes: str, files: Mapping[str, Sequence[Record]]) -> str:
    """A page: the notes, and of each file when and on what it was measured, and its table."""
    lines = [notes.strip()]
    for name, records in files.items():
        (about,) = [r for r in records if r["kind"] == "environment"]
        lines += [
            f"\n## {name}\n",
            f"{about['date']}, {about['cpu']}, {about['threads']} threads for each contender.  ",
            f"{rates(records)}.\n",
            "| " + " | ".join(COLUMNS) + " |",
            "|" + "---|" * len(COLUMNS),
            *(
                "| " + " | ".join(c.replace("|", "\\|") for c in row) + " |"
                for row in _rows(records)
            ),
        ]
    return "\n".join([*lines, ""])


def _rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    results = _by_workload([r for r in records if r["kind"] == "result"])
    gpu = next((r for r in records if r["kind"] == "gpu"), None)
    return [_row(r, results, gpu) for r in results]


def _by_workload(results: Sequence[Record]) -> list[Record]:
    """The results of a workload and size together, also those that came last."""
    order = {(r["workload"], r["size"]): None for r in results}
    places = {key: number for number, key in enumerate(order)}
    return sorted(results, key=lambda r: places[r["workload"], r["size"]])


def _row(record: Record, results: Sequence[Record], gpu: Record | None) -> tuple[str, ...]:
    name = f"{record['workload']} {record['size'] >> 20 or ''}".strip()
    if record["status"] != "ok":
        note = f"{record['status']}: {record['reason']}"[:80]
        return (name, record["mode"], record["contender"], "", "", "", "", note)
    wall, device = (seconds(record, clock) for clock in ("samples", "device"))
    ratio = _ratio(record, results) if record["contender"] == OURS else None
    share = _share(record, device or wall, gpu)
    return (
        name,
        record["mode"],
        record["contender"],
        _time(wall),
        _time(device),
        "" if ratio is None else f"{ratio:.2f}",
        "" if share is None else f"{share:.0%}",
        "",
    )


def seconds(record: Record, clock: str) -> float | None:
    """The median of a step by the wall clock (`samples`) or by the device."""
    found = [x for turn in record.get(clock, ()) for x in turn]
    return statistics.median(found) if found else None


def _ratio(ours: Record, results: Sequence[Record]) -> float | None:
    """Our time by that of the fastest of the others; None if there are none."""
    key = ("workload", "size", "mode")
    peers = [
        r
        for r in results
        if r["contender"] != OURS and r["status"] == "ok" and all(r[k] == ours[k] for k in key)
    ]
    ratios = []
    for peer in peers:
        both = [(seconds(ours, clock), seconds(peer, clock)) for clock in ("device", "samples")]
        mine, theirs = next(pair for pair in both if None not in pair)
        assert mine is not None
        assert theirs is not None
        ratios.append(mine / theirs)
    return max(ratios, default=None)


def _share(record: Record, took: float | None, gpu: Record | None) -> float | None:
    """The floor's time by the time taken; None for networks."""
    if gpu is None or not took or not record["bytes"]:
        return None
    copies = gpu["copies"]
    rate = next((r for size, r in copies if record["bytes"] <= size), copies[-1][1])
    floor = record["bytes"] / rate
    if record["flops"]:
        dtype = "bfloat16" if "bf16" in record["workload"] else "float32"
        floor = max(floor, record["flops"] / gpu["products"][dtype])
    return floor / took


def _time(took: float | None) -> str:
    return "" if took is None else f"{took * 1e6:.1f} µs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of files, and write a page if asked for."""
    from bench.report import read

    parser = argparse.ArgumentParser(prog="python -m bench.gpu.report")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--notes", type=Path)
    options = parser.parse_args(arguments)
    files = {file.name: read(file) for file in options.files}
    for records in files.values():
        print(rates(records))
        print(table(records))
    if options.markdown:
        notes = options.notes.read_text(encoding="utf-8") if options.notes else "# GPU"
        options.markdown.write_text(markdown(notes, files), encoding="utf-8")


if __name__ == "__main__":
    main()
