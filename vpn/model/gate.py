"""The settings of the access gate, as JSON.

They hold no key; the endpoint is a secret, because its URL may.
"""

import json

from vpn.model.access import Access
from vpn.model.keys import KeyRing
from vpn.model.topology import Topology
from vpn.model.wgconf import public_key


def render(topology: Topology, keys: KeyRing, access: Access) -> str:
    """What the gate reads. Times in seconds."""
    settings = {
        "rpcUrl": access.endpoint,
        "contract": access.contract,
        "finality": access.finality,
        "lease": access.lease,
        "tick": access.tick,
        "maxHeadAge": access.max_head_age,
        "memberRange": str(access.member_range),
        "nodes": {node.name: public_key(topology, keys, node) for node in topology.inside},
        "admitting": [node.name for node in topology.nodes if topology.admits_members(node)],
    }
    return json.dumps(settings, indent=2) + "\n"
