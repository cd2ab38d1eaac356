"""The parent's end of a worker: commands out, answers in, each within a time limit."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any, Self

from bench.environment import ROOT

TIMEOUT = 300.0


class WorkerError(Exception):
    """A contender could not do what it was asked; the text says why."""


class Client:
    """A worker process for one workload and contender.

    Raises:
        WorkerError: from `ask`, if the worker answers with an error, dies or takes too long.
    """

    def __init__(
        self,
        workload: str,
        contender: str,
        device: str,
        threads: int,
        extra: Mapping[str, str] | None = None,
        module: str = "bench.worker",
    ) -> None:
        self.contender = contender
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, workload, contender, device],
            cwd=ROOT,
            env=environment(threads) | dict(extra or {}),
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
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **command}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(f"the worker has ended: {self._last_words()}") from None
        return self._answer(timeout)

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
            raise WorkerError(f"no answer within {timeout:.0f} s") from None
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


def environment(threads: int) -> dict[str, str]:
    """This process's environment, with one number of threads for every library."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return (
        dict(os.environ)
        | dict.fromkeys(names, str(threads))
        | {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    )
