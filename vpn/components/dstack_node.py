"""A node in a confidential VM of DStack: what the VM has to run. Whoever may deploy applications there deploys it."""

from dataclasses import dataclass

import pulumi

from vpn.model.guest_compose import app_compose
from vpn.model.topology import Node, Topology


@dataclass(frozen=True, kw_only=True)
class DstackNodeArgs:
    """Which node of which mesh."""

    topology: Topology
    node: Node
    """On a host of kind dstack."""
    signer: pulumi.Input[str]
    """Public key, in hexadecimal, of who gives the node orders."""


class DstackNode(pulumi.ComponentResource):
    """Renders app-compose.json; no resource of ours is in the VM."""

    app_compose: pulumi.Output[str]
    """The file, to be deployed just as it is: its bytes are measured."""
    compose_hash: pulumi.Output[str]
    """SHA-256 of the file in hexadecimal."""

    def __init__(self, name: str, args: DstackNodeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:DstackNode", name, {}, opts)
        compose = pulumi.Output.from_input(args.signer).apply(lambda key: app_compose(args.topology, args.node, key))
        self.app_compose = compose.apply(lambda found: found.text())
        self.compose_hash = compose.apply(lambda found: found.compose_hash())
        self.register_outputs({"appCompose": self.app_compose, "composeHash": self.compose_hash})
