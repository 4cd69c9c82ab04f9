"""The relay that carries a node's links over TCP, in the wire format of Mullvad's udp-over-tcp."""

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from vpn.components.container import container_options, hardened
from vpn.components.volume import own_volume
from vpn.model.hosts import LOCAL, Host
from vpn.model.privileges import RELAY_MEMORY
from vpn.model.transport import ECHO_PORT


@dataclass(frozen=True, kw_only=True)
class MullvadProxyArgs:
    """Where the relay stands. Its links are no property of it: they come through its config volume."""

    mesh: pulumi.Input[str]
    """Identity of the mesh, on everything that belongs to it."""
    container_name: pulumi.Input[str]
    """Name of the container; its volume is named after it."""
    image: pulumi.Input[str]
    """Image ID of docker/udp-over-tcp."""
    underlay_network: pulumi.Input[str]
    """Docker network that carries the encrypted packets."""
    address: pulumi.Input[str]
    """IPv4 address on the underlay."""
    listen_port: pulumi.Input[int]
    """TCP port for who comes over TCP."""
    host_port: pulumi.Input[int] | None = None
    """Port published on the Docker host, TCP for who comes and UDP for who asks; None publishes nothing."""
    host: Host = LOCAL
    """Where it runs."""


class MullvadProxy(pulumi.ComponentResource):
    """A container without any capability, and its config volume."""

    container: docker.Container
    config_volume: docker.Volume

    def __init__(self, name: str, args: MullvadProxyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:MullvadProxy", name, {}, opts)
        self.config_volume = own_volume(self, name, args.mesh, pulumi.Output.concat(args.container_name, "-config"))
        self.container = docker.Container(name, self._container(args), container_options(self, name, args.host))
        self.register_outputs({"container": self.container.name})

    def _container(self, args: MullvadProxyArgs) -> docker.ContainerArgs:
        return hardened(
            mesh=args.mesh,
            name=args.container_name,
            image=args.image,
            memory=RELAY_MEMORY,
            tmpfs=["/run"],
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=args.underlay_network, ipv4_address=args.address)
            ],
            ports=_published(args),
            volumes=[
                docker.ContainerVolumeArgs(volume_name=self.config_volume.name, container_path="/etc/udp-over-tcp")
            ],
            healthcheck=docker.ContainerHealthcheckArgs(
                tests=["CMD", "health"], interval="30s", timeout="10s", retries=2
            ),
        )


def _published(args: MullvadProxyArgs) -> list[docker.ContainerPortArgs]:
    if args.host_port is None:
        return []
    ports = (("tcp", args.listen_port), ("udp", ECHO_PORT))  # at the latter it answers whether UDP gets there
    return [
        docker.ContainerPortArgs(internal=port, external=args.host_port, protocol=protocol, ip="0.0.0.0")  # noqa: S104
        for protocol, port in ports
    ]
