"""A plugin of pytest that does not run again what has passed: `-p bench.gpu.passed --passed=FILE`.

The file has a line for each test that passed. The process that wrote none collects as ever; workers
of pytest-xdist leave the writing to the one that started them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def pytest_addoption(parser: Any) -> None:
    """Declare the option."""
    parser.addoption("--passed", type=Path, help="tests that passed, and are not run again")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out what has passed."""
    file = config.getoption("--passed")
    known = set(file.read_text(encoding="utf-8").splitlines()) if file and file.is_file() else set()
    gone = [item for item in items if item.nodeid in known]
    items[:] = [item for item in items if item.nodeid not in known]
    config.hook.pytest_deselected(items=gone)


class _Writer:
    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a test that passed."""
        if report.when == "call" and report.passed:
            with self._file.open("a", encoding="utf-8") as file:
                print(report.nodeid, file=file)


def pytest_configure(config: Any) -> None:
    """Write where the tests are reported, which workers' are too."""
    file = config.getoption("--passed")
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Writer(file))


def pytest_sessionfinish(session: Any, exitstatus: int) -> None:
    """That no test was left to run is no failure."""
    if exitstatus == 5 and session.config.getoption("--passed"):
        session.exitstatus = 0
