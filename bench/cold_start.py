"""From the import of a library to the first finished step, in a process that begins with nothing.

    python -m bench.cold_start WORKLOAD CONTENDER DATA.npz

Two times are added: of the import, which is this process's first act, and from the arrays to the
loss of the first step. What lies between them is the benchmark's own: its modules, its data.
"""

import sys
import time

BEGUN = time.perf_counter()
CONTENDERS = {"staticnet": "staticnet", "torch": "torch", "torch.compile": "torch", "jax": "jax"}


def main(workload: str, contender: str, file: str) -> None:
    import importlib

    importlib.import_module(CONTENDERS[contender])
    imported = time.perf_counter()
    import json

    import numpy as np

    from bench.workloads import WORKLOADS

    made = WORKLOADS[workload].contenders[contender]
    with np.load(file) as saved:
        data = dict(saved)
    start = time.perf_counter()
    program = made(data, "cpu")
    built = time.perf_counter()
    (loss,) = program.modes["call"].check(1).tolist()
    done = time.perf_counter()
    record = {
        "import_s": imported - BEGUN, "build_s": built - start, "step_s": done - built,
        "total_s": imported - BEGUN + done - start, "loss": loss,
    }  # fmt: skip
    print(json.dumps(record))


if __name__ == "__main__":
    main(*sys.argv[1:])
