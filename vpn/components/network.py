"""Docker networks of the mesh: a bridge with a fixed range."""

from collections.abc import Mapping

import pulumi
import pulumi_docker as docker

from vpn.components.leftovers import removed_before_create, stack_label


def bridge(
    name: str,
    network_name: pulumi.Input[str],
    ipam: docker.NetworkIpamConfigArgs,
    parent: pulumi.Resource,
    options: Mapping[str, str] | None = None,
) -> docker.Network:
    """A bridge that is deleted before it is replaced, because two cannot have one range."""
    return docker.Network(
        name,
        name=network_name,
        driver="bridge",
        ipam_configs=[ipam],
        options=options,
        labels=[docker.NetworkLabelArgs(**stack_label())],
        opts=pulumi.ResourceOptions(
            parent=parent, delete_before_replace=True, hooks=removed_before_create("network", name, parent)
        ),
    )
