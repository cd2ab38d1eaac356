"""Functions of functions: ops that hold graphs, and transformations of graphs."""
