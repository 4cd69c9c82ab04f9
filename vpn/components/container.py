"""What every container of the mesh has in common, said once."""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_docker as docker

GRACE_SECONDS = 5
LOGS = {"max-size": "1m", "max-file": "2"}


def container_options(parent: pulumi.Resource, **more: object) -> pulumi.ResourceOptions:
    """Options of a container: any change replaces it, so that one whose start failed is made anew by the next `up`."""
    options = pulumi.ResourceOptions(parent=parent, replace_on_changes=["*"], delete_before_replace=True)
    return pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(**more))  # type: ignore[arg-type]


def hardened(
    *,
    name: pulumi.Input[str],
    image: pulumi.Input[str],
    memory: int,
    tmpfs: Sequence[str],
    capabilities: Sequence[str] = (),
    sysctls: Mapping[str, str] | None = None,
    **more: object,
) -> docker.ContainerArgs:
    """Container arguments with least privilege: no capability but those named, a read-only root, bounded memory (MiB)."""
    return docker.ContainerArgs(
        name=name,
        image=image,
        restart="unless-stopped",
        destroy_grace_seconds=GRACE_SECONDS,
        capabilities=docker.ContainerCapabilitiesArgs(adds=[f"CAP_{one}" for one in capabilities], drops=["ALL"]),
        security_opts=["no-new-privileges"],
        read_only=bool(more.pop("read_only", True)),
        tmpfs={path: "rw,nosuid,nodev,noexec,size=16m,mode=1777" for path in tmpfs},
        memory=memory,
        memory_swap=memory,
        sysctls=sysctls,
        log_driver="json-file",
        log_opts=LOGS,
        **more,  # type: ignore[arg-type]
    )
