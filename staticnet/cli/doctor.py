"""`staticnet doctor`: what this machine offers, what is missing, and what installs it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from staticnet.cli.machine import Check, examine, is_usable


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("doctor", help="say what works here and what is missing")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.set_defaults(run=run, reads_flags=False)  # it tells what is wrong with them itself


def run(options: argparse.Namespace) -> None:
    """Print all checks.

    Raises:
        SystemExit: with 1, if no device works or something that was asked for is broken.
    """
    checks = examine()
    print(as_json(checks) if options.json else as_text(checks))
    if not is_usable(checks):
        raise SystemExit(1)


def as_json(checks: Sequence[Check]) -> str:
    """`{"usable": true, "checks": [{"section": …, "name": …, "state": …, …}, …]}`."""
    records = [asdict(check) for check in checks]
    return json.dumps({"usable": is_usable(list(checks)), "checks": records}, indent=2)


def as_text(checks: Sequence[Check]) -> str:
    """A paragraph for each section, a remedy under what needs one, and the sum of it."""
    width = max(len(check.name) for check in checks)
    lines: list[str] = []
    section = ""
    for check in checks:
        if check.section != section:
            section = check.section
            lines += ["", section] if lines else [section]
        lines.append(f"  {check.state:7}  {check.name:{width}}  {check.detail}".rstrip())
        if check.remedy:
            lines.append(f"  {'':7}  {'':{width}}  {check.remedy}")
    return "\n".join([*lines, "", _sum(checks)])


def _sum(checks: Sequence[Check]) -> str:
    working = [c.name for c in checks if c.section == "devices" and c.state == "ok"]
    wrong = [c.name for c in checks if c.asked and c.state in ("missing", "broken")]
    text = f"Devices that work: {', '.join(working) or 'none'}."
    return f"{text} To be corrected: {', '.join(wrong)}." if wrong else text
