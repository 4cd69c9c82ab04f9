"""What the keeper of a node in a confidential VM is told: the node's config without a secret, signed.

The format is that of docker/dstack-node, which reads it.
"""

import json

from vpn.model.bundle import node_files, proxy_files
from vpn.model.keys import KeyRing
from vpn.model.topology import Node, Topology

LABEL = b"dstack-vpn order 1\0"  # so that nothing else that is signed passes for an order


def signed(topology: Topology, keys: KeyRing, node: Node, serial: int, moment: int = 0) -> str:
    """An order as JSON. The keeper takes none whose serial is not greater than that of the last.

    `moment`: milliseconds since 1970 when the node goes over to new keys; 0 leaves that to the keeper.
    """
    order = {
        "network": topology.name,
        "node": node.name,
        "epoch": topology.epoch(node),
        "serial": serial,
        "moment": moment,
        "files": {"node": node_files(topology, keys, node), "relay": proxy_files(topology, keys, node)},
    }
    text = json.dumps(order, sort_keys=True, separators=(",", ":"))
    return json.dumps({"order": text, "signature": keys.sign(LABEL + text.encode()).hex()})
