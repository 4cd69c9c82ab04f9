"""Runs beside a node in a DStack guest: takes the node's key from the guest agent, and has its public key attested.

Standard library only, and wg(8) for the public key.
"""
