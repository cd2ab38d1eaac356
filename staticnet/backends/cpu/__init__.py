"""The CPU backend: a graph as one C file, built by a C compiler, kept in a cache and loaded."""
