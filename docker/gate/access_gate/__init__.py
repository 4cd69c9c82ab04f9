"""The access gate: lets the holders of access passes into the mesh, and puts out who is none any more.

Level-triggered: every tick it reads the whole set of passes from the chain and writes the whole set of members for the
nodes. Standard library only, so that nothing but Debian's Python is in its image.
"""
