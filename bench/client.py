"""The parent's end of a contender's process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from bench.environment import ROOT
from staticnet.compare.process import Process, WorkerError

__all__ = ["Client", "WorkerError", "environment"]


class Client(Process):
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
        command = [sys.executable, "-m", module, workload, contender, device]
        super().__init__(command, ROOT, environment(threads) | dict(extra or {}))


def environment(threads: int) -> dict[str, str]:
    """This process's environment, with one number of threads for every library."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return (
        dict(os.environ)
        | dict.fromkeys(names, str(threads))
        | {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    )
