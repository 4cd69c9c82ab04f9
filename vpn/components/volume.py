"""Docker volumes of the mesh."""

from collections.abc import Mapping

import pulumi
import pulumi_docker as docker

from vpn.components.leftovers import LABEL


def own_volume(  # noqa: PLR0913 (two of them by name)
    parent: pulumi.Resource,
    name: str,
    mesh: pulumi.Input[str],
    volume_name: pulumi.Input[str],
    options: Mapping[str, str] | None = None,
    *,
    protect: bool = False,
) -> docker.Volume:
    """A volume that bears the identity of the mesh; `options` are those of Docker's local driver.

    What is protected is not deleted before `pulumi state unprotect`, or an `up` that no longer protects it.
    """
    return docker.Volume(
        name,
        name=volume_name,
        driver_opts=options,
        labels=[docker.VolumeLabelArgs(label=LABEL, value=mesh)],
        # Both would have one name.
        opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=True, protect=protect or None),
    )
