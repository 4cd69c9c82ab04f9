"""Which node this is, its key, and the evidence of that."""

import time
from dataclasses import dataclass

from dstack_node.agent import Agent
from dstack_node.evidence import Binding, evidence, report_data
from dstack_node.keys import private_key, public_key


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of a network."""

    network: str
    node: str


async def key(node: Node, epoch: int, agent: Agent) -> str:
    """Base64 of the private key of a generation. Raises AgentError."""
    path = f"{node.network}/{node.node}/{await agent.instance_id()}/{epoch}"
    return private_key(await agent.key(path))


async def attest(node: Node, epoch: int, nonce: bytes, agent: Agent) -> str:
    """The evidence for a generation's key, one line of JSON without a secret. Raises AgentError."""
    binding = Binding(
        network=node.network,
        node=node.node,
        public_key=public_key(await key(node, epoch, agent)),
        epoch=epoch,
        issued=int(time.time()),
    )
    return evidence(binding, nonce, *await agent.quote(report_data(binding, nonce)))
