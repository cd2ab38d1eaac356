"""Device code as real files: `math.h` that C and CUDA share, `*.cuh`, `*.cu`.

Installed, this folder is the package `staticnet.kernels`; in a checkout it lies beside
`staticnet/`. `staticnet.io.kernels.path()` finds it in both.
"""
