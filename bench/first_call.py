"""What a user waits for before the first loss of `mlp`, and the memory that its steps take.

Each contender starts in a fresh process with an empty cache (cold) and in another one with the
cache that the first has left (warm). The time is from building the network to the first loss on
the host; importing the library is reported beside it.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import environment
from bench.client import Client, WorkerError
from bench.workloads import WORKLOADS

Record = dict[str, Any]


def cache_settings(contender: str, folder: str) -> dict[str, str] | str:
    """The environment that puts a contender's compile cache in a folder, or why there is none."""
    if contender == "torch.compile":
        return {"TORCHINDUCTOR_CACHE_DIR": folder}
    if contender == "jax":
        return {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    if contender == "staticnet":
        from staticnet import flags

        if "cache" in {field.name for field in dataclasses.fields(flags.Flags)}:
            return {"STATICNET_CACHE": folder}
        return "this version keeps no cache on disk"
    return "nothing is compiled"


def measure_first_calls(contenders: Sequence[str], device: str, threads: int) -> Iterator[Record]:
    """One record for each contender and state of its cache."""
    workload = WORKLOADS["mlp"]
    with tempfile.TemporaryDirectory() as folder:
        for contender in contenders:
            if contender not in workload.contenders:
                continue
            cache = Path(folder) / contender
            cache.mkdir(mode=0o700)
            settings = cache_settings(contender, str(cache))
            for state in ("cold", "warm"):
                record = {
                    "kind": "first_call",
                    "workload": "mlp",
                    "contender": contender,
                    "cache": state,
                }
                if isinstance(settings, str) and state == "warm":
                    yield record | {"status": "skipped", "reason": settings}
                    continue
                extra = {} if isinstance(settings, str) else settings
                yield record | _measure(contender, device, threads, extra)


def _measure(contender: str, device: str, threads: int, extra: dict[str, str]) -> Record:
    reason = environment.missing(contender)
    if reason:
        return {"status": "missing", "reason": reason}
    with Client("mlp", contender, device, threads, extra) as client:
        try:
            imported = client.ready()["import_s"]
            prepared = client.ask("prepare", size=0, steps=WORKLOADS["mlp"].check_steps)
            memory = client.ask("memory")
        except WorkerError as error:
            return {"status": "failed", "reason": str(error)}
    return {
        "status": "ok",
        "reason": "",
        "import_s": imported,
        "first_call_s": prepared["first_call_s"]["call"],
        "memory": memory,
    }
