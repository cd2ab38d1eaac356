"""The command `staticnet`."""
