"""The suite of an NVIDIA GPU: the CPU's workloads at a GPU's sizes, the same code on the device."""
