"""The command line of who runs a mesh, and of who holds an access pass."""
