"""What `make up` needs on a bare machine: Python packages, Pulumi, a Docker engine, the base image, a backend.

It runs before anything is installed, so it uses the standard library only. Each step leaves alone what already holds.
"""
