"""A workload: a plain container behind a node."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from vpn.components.container import container_options, hardened
from vpn.model.hosts import LOCAL, Host
from vpn.model.privileges import WORKLOAD_MEMORY


@dataclass(frozen=True, kw_only=True)
class WorkloadContainerArgs:
    """What runs at a site."""

    mesh: pulumi.Input[str]
    """Identity of the mesh, on everything that belongs to it."""
    container_name: pulumi.Input[str]
    image: pulumi.Input[str]
    """Image name or ID."""
    network: pulumi.Input[str]
    """The site network of its node."""
    address: pulumi.Input[str]
    """IPv4 address at the site."""
    resolver: pulumi.Input[str]
    """The node's address at the site: it knows the names of the mesh."""
    domain: pulumi.Input[str]
    """Search domain."""
    command: Sequence[str] = ()
    """Replaces the image's command when not empty."""
    host: Host = LOCAL
    """Where it runs."""


class WorkloadContainer(pulumi.ComponentResource):
    """A hardened container whose only network is its node's site."""

    container: docker.Container

    def __init__(self, name: str, args: WorkloadContainerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:WorkloadContainer", name, {}, opts)
        self.container = docker.Container(name, _container(args), container_options(self, name, args.host))
        self.register_outputs({"container": self.container.name})


def _container(args: WorkloadContainerArgs) -> docker.ContainerArgs:
    return hardened(
        mesh=args.mesh,
        name=args.container_name,
        image=args.image,
        hostname=args.container_name,
        memory=WORKLOAD_MEMORY,
        tmpfs=["/tmp", "/run"],  # noqa: S108
        networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=args.network, ipv4_address=args.address)],
        dns=[args.resolver],
        dns_searches=[args.domain],
        command=list(args.command) or None,
    )
