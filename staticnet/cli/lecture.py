"""`staticnet lecture -o page.html`: an introduction to deep learning whose figures are computed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from staticnet import files
from staticnet.cli.extras import require


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser(
        "lecture", help="write an introduction to deep learning, every figure computed here"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/lecture.html"),
                        help="(%(default)s)")  # fmt: skip
    parser.add_argument("--device", default="auto", help="(%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compute each section, and write the page.

    Raises:
        DependencyError: if scikit-learn is missing; names the command that installs it.
        OSError: if it cannot be written.
    """
    require("sklearn", extra="examples")
    from staticnet.cli.lecture_topics import SECTIONS
    from staticnet.report import article

    parts: list[article.Part] = [article.contents(title for title, _ in SECTIONS)]
    for title, section in SECTIONS:
        print(title, flush=True)
        parts += [article.chapter(title), *section(options.device)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    page = article.page("An introduction to deep learning", parts)
    files.write(options.out, page)
    print(f"wrote {options.out}")
