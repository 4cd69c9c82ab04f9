"""The keeper of a node in a DStack guest: gives evidence of the node's key, and keeps the node's config as ordered.

No config carrier reaches a confidential VM. So the keeper takes orders over HTTP, signed by the operator, and does for
the node and the relay beside it what a carrier does on a Docker host. The private key comes from the guest agent and is
nowhere but in the node's wg0.conf.
"""
