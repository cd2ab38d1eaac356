"""The parent's end of a worker process: commands out, answers in, each within a time limit."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

TIMEOUT = 300.0


class WorkerError(Exception):
    """A contender could not do what it was asked; the text says why."""


class NoAnswerError(WorkerError):
    """It did not answer in time, and was ended."""


class Process:
    """A worker that reads commands as lines of JSON and answers each with one line.

    Raises:
        WorkerError: from `ask`, if the worker answers with an error, dies or takes too long.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Wait until the libraries are imported."""
        return self._answer(timeout)

    def ask(self, do: str, timeout: float = TIMEOUT, **command: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self.send(do, **command)
        return self._answer(timeout)

    def send(self, do: str, **command: Any) -> None:
        """Send one command, whose answer `ready` waits for."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **command}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(f"the worker has ended: {self._last_words()}") from None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # the last command never left the buffer
                    continue

    def _answer(self, timeout: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self._process.kill()
            raise NoAnswerError(f"no answer within {timeout:.0f} s") from None
        if not line:
            self._answers.put("")
            raise WorkerError(f"the worker has ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        for line in stream:
            self._answers.put(line)
        self._answers.put("")

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.poll()}"
