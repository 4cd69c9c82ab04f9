"""Docker networks of the mesh: bridges with a fixed range."""

from typing import Any

import pulumi
import pulumi_docker as docker

from vpn.components.leftovers import LABEL, removed_before_create
from vpn.model.hosts import Host


def network_options(parent: pulumi.Resource, name: str, host: Host) -> pulumi.ResourceOptions:
    """Options of a network: deleted before it is replaced, because two cannot have one range."""
    hooks = removed_before_create("network", name, parent, host)
    return pulumi.ResourceOptions(parent=parent, delete_before_replace=True, hooks=hooks)


def bridge(
    *, mesh: pulumi.Input[str], subnet: pulumi.Input[str], gateway: pulumi.Input[str], **more: Any
) -> docker.NetworkArgs:
    """Arguments of a bridge; `mesh` is the identity of the mesh."""
    return docker.NetworkArgs(
        driver="bridge",
        ipam_configs=[docker.NetworkIpamConfigArgs(subnet=subnet, gateway=gateway)],
        labels=[docker.NetworkLabelArgs(label=LABEL, value=mesh)],
        **more,
    )
