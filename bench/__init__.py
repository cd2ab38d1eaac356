"""The benchmark suite: `staticnet bench` runs it; every number can be recomputed from its file.

| file | what it holds |
|---|---|
| `workloads/` | one file a workload: each framework's code for it, side by side |
| `program.py` | what a workload and a contender's program are |
| `training.py`, `kernels.py` | the loops that are timed: training steps, single kernels |
| `worker.py` | a process that holds one contender |
| `client.py`, `first_call.py` | the parent's end of a worker; compile times and memory |
| `driver.py` | starts the workers, checks them against the reference, interleaves their rounds |
| `stats.py` | medians, intervals and ratios |
| `report.py`, `figure.py` | tables; Markdown and a plot |
"""
