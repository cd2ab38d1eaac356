"""The benchmark suite: `staticnet bench` runs it; every number can be recomputed from its file.

| file | what it holds |
|---|---|
| `workloads/` | one file a workload: each framework's code for it, side by side |
| `program.py` | what a workload and a contender's program are |
| `training.py`, `kernels.py` | the loops that are timed: training steps, single kernels |
| `adam_rule.py` | Adam's formula, for those who are given one |
| `copies.py`, `copy.c` | copies, the floor that kernels are compared with |
| `worker.py` | a process that holds one contender |
| `client.py`, `first_call.py` | the parent's end of a worker; compile times and memory |
| `cold.py`, `cold_start.py` | from the import to the first finished step, in fresh processes |
| `driver.py` | starts the workers of each workload and decides who fits into memory |
| `rounds.py` | checks the contenders against the reference and interleaves their rounds |
| `report.py`, `figure.py` | tables; Markdown and a plot |
| `changes.py` | what became slower or faster since another run |
| `peers.py` | the peers' programs for `staticnet compare` |
| `recompute.py` | every number of a comparison, again from its raw samples |

Statistics, the loops that are timed and the environment's description are `staticnet.compare`'s.
"""
