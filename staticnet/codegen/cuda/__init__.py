"""Plans as CUDA C++: kernels by family, and the list of what a driver runs of them."""
