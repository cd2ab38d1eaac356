"""One file a pass, and the manager. A pass is a pure function from graph to graph."""
