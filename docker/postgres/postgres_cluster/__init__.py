"""Runs a container of the PostgreSQL cluster: its process, told by the config carrier what to be.

Every part has the same life: wait for the config, hand it to the process as files of its own user, start it, see to it
that what the config wants is in effect, acknowledge. When the process ends, so does the container, and Docker starts
it anew: no PostgreSQL ever runs without its Patroni.
"""
