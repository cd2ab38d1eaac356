"""The intermediate representation: types, nodes, graphs, their text, and the verifier."""
