"""What every container of the mesh has in common, said once."""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_docker as docker

from vpn.components.leftovers import LABEL, removed_before_create
from vpn.model.hosts import Host
from vpn.model.privileges import LOGS, TMPFS

GRACE_SECONDS = 5


def container_options(parent: pulumi.Resource, name: str, host: Host, **more: Any) -> pulumi.ResourceOptions:
    """Options of a container: any change replaces it, so that one whose start failed is made anew by the next `up`."""
    options = pulumi.ResourceOptions(
        parent=parent,
        replace_on_changes=["*"],
        delete_before_replace=True,
        hooks=removed_before_create("container", name, parent, host),
    )
    return pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(**more))


def hardened(
    *, mesh: pulumi.Input[str], memory: int, tmpfs: Sequence[str], capabilities: Sequence[str] = (), **more: Any
) -> docker.ContainerArgs:
    """Container arguments with least privilege.

    No capability but those named, no new privileges, a root that cannot be written unless `read_only=False`, and memory
    bounded in MiB. `mesh` is the identity of the mesh. The provider has no setting for a bound on processes.
    """
    defaults: dict[str, Any] = {
        "destroy_grace_seconds": GRACE_SECONDS,
        "read_only": True,
        "log_driver": "json-file",
        "log_opts": LOGS,
        "restart": "unless-stopped",
    }
    return docker.ContainerArgs(
        capabilities=docker.ContainerCapabilitiesArgs(adds=[f"CAP_{one}" for one in capabilities], drops=["ALL"]),
        security_opts=["no-new-privileges"],
        tmpfs=dict.fromkeys(tmpfs, TMPFS),
        memory=memory,
        memory_swap=memory,
        labels=[docker.ContainerLabelArgs(label=LABEL, value=mesh)],
        **(defaults | more),
    )
