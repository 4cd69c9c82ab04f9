"""Docker volumes of the mesh."""

from collections.abc import Mapping

import pulumi
import pulumi_docker as docker

from vpn.components.leftovers import LABEL


def own_volume(
    parent: pulumi.Resource,
    name: str,
    mesh: pulumi.Input[str],
    volume_name: pulumi.Input[str],
    options: Mapping[str, str] | None = None,
) -> docker.Volume:
    """A volume that bears the identity of the mesh; `options` are those of Docker's local driver."""
    return docker.Volume(
        name,
        name=volume_name,
        driver_opts=options,
        labels=[docker.VolumeLabelArgs(label=LABEL, value=mesh)],
        opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=True),  # both would have one name
    )
