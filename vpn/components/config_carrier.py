"""The config carrier: brings every node of a Docker host its files.

The files are no property of a node's container, or every added peer would replace every container. They travel as one
archive into this one container, which unpacks it into the nodes' volumes; only it is replaced when the mesh changes.
One upload for all, because Docker takes about 0.2 s for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from vpn.components.container import container_options, hardened
from vpn.model.hosts import LOCAL, Host

MEMORY_MIB = 32


@dataclass(frozen=True, kw_only=True)
class ConfigCarrierArgs:
    """What goes where."""

    mesh: pulumi.Input[str]
    """Identity of the mesh, on everything that belongs to it."""
    container_name: pulumi.Input[str]
    image: pulumi.Input[str]
    """Image ID of docker/wireguard."""
    bundle: pulumi.Input[str]
    """Base64 of the archive of `vpn.model.bundle`; a secret."""
    volumes: Mapping[str, pulumi.Input[str]]
    """Config volume of every node and of the gate, by name."""
    readers: pulumi.Input[Mapping[str, str]]
    """Container ID of each: who is replaced is delivered to, and waited for, anew."""
    patience: int = 15_000
    """Milliseconds after a delivery when nodes go over to new keys if nobody names the moment: an `up` was killed."""
    host: Host = LOCAL
    """Where it runs."""


class ConfigCarrier(pulumi.ComponentResource):
    """Made after the nodes, so that all of them start their handshakes with a peer that is there."""

    container: docker.Container

    def __init__(self, name: str, args: ConfigCarrierArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:ConfigCarrier", name, {}, opts)
        options = container_options(
            self, name, args.host, replacement_trigger=args.readers, additional_secret_outputs=["uploads"]
        )
        self.container = docker.Container(name, _container(args), options)
        self.register_outputs({"container": self.container.name})


def _container(args: ConfigCarrierArgs) -> docker.ContainerArgs:
    return hardened(
        mesh=args.mesh,
        name=args.container_name,
        image=args.image,
        command=["carrier", "carry", str(args.patience)],
        memory=MEMORY_MIB,
        tmpfs=[],
        network_mode="none",
        # An upload needs a writable root. It is the archive and nothing else; the volumes hold the same at rest.
        read_only=False,
        uploads=[docker.ContainerUploadArgs(file="/bundle.tar.gz", content_base64=args.bundle, permissions="0600")],
        volumes=[
            docker.ContainerVolumeArgs(volume_name=volume, container_path=f"/config/{node}")
            for node, volume in args.volumes.items()
        ],
        healthcheck=docker.ContainerHealthcheckArgs(
            tests=["CMD", "carrier", "health"], interval="30s", timeout="10s", retries=2
        ),
    )
