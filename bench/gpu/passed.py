"""A plugin of pytest that does not run again what has passed: `-p bench.gpu.passed --passed=FILE`.

The file has a line for each test that passed. Beside it, `FILE.begun` has one for each that began:
those that never ended, since they hung, come last the next time. `FILE.failed` has what failures
say, written when they happen: a run that is cut off has no end at which to tell them. The process
that wrote none collects as ever; workers of pytest-xdist leave the writing to the one that started
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def pytest_addoption(parser: Any) -> None:
    """Declare the option."""
    parser.addoption("--passed", type=Path, help="tests that passed, and are not run again")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out what has passed, and put what hung last."""
    file = config.getoption("--passed")
    if not file:
        return
    known, begun = _lines(file), _lines(_beside(file, "begun"))
    gone = [item for item in items if item.nodeid in known]
    items[:] = [item for item in items if item.nodeid not in known]
    items.sort(key=lambda item: item.nodeid in begun)
    config.hook.pytest_deselected(items=gone)


def _beside(file: Path, what: str) -> Path:
    return file.with_name(f"{file.name}.{what}")


def _lines(file: Path) -> set[str]:
    return set(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else set()


class _Writer:
    def __init__(self, file: Path, say: Any) -> None:
        self._file, self._say = file, say

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note a test that begins."""
        self._write(_beside(self._file, "begun"), nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a test that passed, and what one that did not says."""
        if report.when == "call" and report.passed:
            self._write(self._file, report.nodeid)
        elif report.failed:
            text = f"== {report.nodeid}, {report.when}\n{report.longreprtext}\n"
            self._write(_beside(self._file, "failed"), text)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note that a test ended: of those that began only the ones that hung are kept."""
        file = _beside(self._file, "begun")
        left = [line for line in _lines(file) if line != nodeid]
        self._write(file, "\n".join(left), "w")

    def _write(self, file: Path, text: str, mode: str = "a") -> None:
        """Write a line; a disk that takes no more ends no run."""
        try:
            with file.open(mode, encoding="utf-8") as opened:
                print(text, file=opened)
        except OSError as error:
            self._say(f"{file}: {error}")


def pytest_configure(config: Any) -> None:
    """Write where the tests are reported, which workers' are too."""
    file = config.getoption("--passed")
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Writer(file, print))


def pytest_sessionfinish(session: Any, exitstatus: int) -> None:
    """That no test was left to run is no failure."""
    if exitstatus == 5 and session.config.getoption("--passed"):
        session.exitstatus = 0
