"""Device code as real files: `*.h` of C, of which CUDA shares the scalar functions, and `*.cuh`.

Installed, this folder is the package `staticnet.kernels`; in a checkout it lies beside
`staticnet/`. `staticnet.codegen.resources` finds it in both.
"""
