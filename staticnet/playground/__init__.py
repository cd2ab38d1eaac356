"""The playground: a small network trained live by a compiled step, shown in the browser."""
