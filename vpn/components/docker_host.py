"""What the nodes of one Docker host share."""

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from vpn.components.image import built_image
from vpn.components.network import bridge, network_options
from vpn.components.volume import own_volume
from vpn.model.hosts import Host
from vpn.model.topology import Topology


@dataclass(frozen=True, kw_only=True)
class DockerHostArgs:
    """Which host of which mesh."""

    mesh: pulumi.Input[str]
    """Identity of the mesh, on everything that belongs to it."""
    topology: Topology
    host: Host


class DockerHost(pulumi.ComponentResource):
    """Image, underlay and members of one Docker engine; the nodes there are its children."""

    node_image: docker.RemoteImage
    underlay: docker.Network
    """Carries the encrypted packets between nodes of this host, and from and to the outside."""
    members: docker.Volume
    """Who else may join, as the gate of this host says."""

    def __init__(self, name: str, args: DockerHostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:DockerHost", name, {}, opts)
        self._args = args
        # "_" is in no name of a node or workload, and so in no other name of a resource.
        self.node_image = self.image("node", "docker/wireguard")
        self.underlay = docker.Network(f"{name}_underlay", self._bridge(), network_options(self, name, args.host))
        self.members = self._members_volume()
        self.register_outputs({"underlay": self.underlay.name})

    def image(self, name: str, folder: str) -> docker.RemoteImage:
        """An image of the mesh, built on this host."""
        args = self._args
        return built_image(f"{args.host.name}_{name}_image", f"{args.topology.name}/{name}", folder, self)

    def _bridge(self) -> docker.NetworkArgs:
        topology = self._args.topology
        return bridge(
            mesh=self._args.mesh,
            name=f"{topology.name}-network",
            subnet=str(topology.underlay_range),
            gateway=str(topology.underlay_gateway),
        )

    def _members_volume(self) -> docker.Volume:
        """In memory only, as a lease is; there also without a gate, because adding one must not replace a node."""
        args = self._args
        options = {"type": "tmpfs", "device": "tmpfs", "o": "size=4m,mode=0700"}
        return own_volume(self, f"{args.host.name}_members", args.mesh, f"{args.topology.name}-members", options)


def provider(host: Host, parent: pulumi.Resource) -> docker.Provider | None:
    """What speaks with the engine of a host; None for the engine that Docker's own tools find."""
    if host.docker is None:
        return None
    options = pulumi.ResourceOptions(parent=parent)
    return docker.Provider(host.name, host=host.docker, cert_path=host.certificates, opts=options)
