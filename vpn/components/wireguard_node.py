"""A WireGuard node: the router of one site."""

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from vpn.components.container import container_options, hardened
from vpn.components.network import bridge, network_options
from vpn.components.volume import own_volume
from vpn.model.hosts import LOCAL, Host
from vpn.model.privileges import NODE_CAPABILITIES, NODE_MEMORY, NODE_SYSCTLS, SITE_OPTIONS, TUN

CONFIG_FOLDER = "/etc/wireguard"
MEMBERS_FOLDER = "/members"


@dataclass(frozen=True, kw_only=True)
class WireGuardNodeArgs:
    """Where a node stands. Its peers and keys are no property of it: they come through its config volume."""

    mesh: pulumi.Input[str]
    """Identity of the mesh, on everything that belongs to it."""
    container_name: pulumi.Input[str]
    """Name of the container; its volume is named after it."""
    image: pulumi.Input[str]
    """Image ID of docker/wireguard."""
    underlay_network: pulumi.Input[str]
    """Docker network that carries the encrypted packets."""
    underlay_address: pulumi.Input[str]
    """IPv4 address on the underlay."""
    site_name: pulumi.Input[str]
    """Name of the site's network; must sort after the underlay's, for Docker publishes ports by the first."""
    site_range: pulumi.Input[str]
    """IPv4 range of the workloads, in CIDR notation."""
    site_gateway: pulumi.Input[str]
    """Default route and resolver of the workloads; the node itself takes this address."""
    site_address: pulumi.Input[str]
    """The address Docker knows the node by at its site."""
    members_volume: pulumi.Input[str]
    """Where the access gate writes who else may join."""
    listen_port: pulumi.Input[int]
    """UDP port of WireGuard."""
    host_port: pulumi.Input[int] | None = None
    """UDP port published on the Docker host; None publishes nothing."""
    host: Host = LOCAL
    """Where it runs."""


class WireGuardNode(pulumi.ComponentResource):
    """A hardened router container, its site network and its config volume."""

    container: docker.Container
    config_volume: docker.Volume
    site_network: docker.Network

    def __init__(self, name: str, args: WireGuardNodeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:WireGuardNode", name, {}, opts)
        self.config_volume = own_volume(self, name, args.mesh, pulumi.Output.concat(args.container_name, "-config"))
        self.site_network = self._site(name, args)
        self.container = docker.Container(name, self._container(name, args), container_options(self, name, args.host))
        self.register_outputs({"container": self.container.name, "site": self.site_network.name})

    def _site(self, name: str, args: WireGuardNodeArgs) -> docker.Network:
        network = bridge(
            mesh=args.mesh,
            name=args.site_name,
            subnet=args.site_range,
            gateway=args.site_gateway,
            options=SITE_OPTIONS,
        )
        return docker.Network(name, network, network_options(self, name, args.host))

    def _container(self, name: str, args: WireGuardNodeArgs) -> docker.ContainerArgs:
        return hardened(
            mesh=args.mesh,
            name=args.container_name,
            image=args.image,
            hostname=name,
            memory=NODE_MEMORY,
            tmpfs=["/run"],
            capabilities=NODE_CAPABILITIES,
            sysctls=NODE_SYSCTLS,
            devices=[docker.ContainerDeviceArgs(host_path=TUN, container_path=TUN, permissions="rwm")],
            volumes=[
                docker.ContainerVolumeArgs(volume_name=self.config_volume.name, container_path=CONFIG_FOLDER),
                docker.ContainerVolumeArgs(
                    volume_name=args.members_volume, container_path=MEMBERS_FOLDER, read_only=True
                ),
            ],
            networks_advanced=self._networks(args),
            ports=_published(args),
            healthcheck=docker.ContainerHealthcheckArgs(
                tests=["CMD", "health"], interval="30s", timeout="5s", retries=2
            ),
        )

    def _networks(self, args: WireGuardNodeArgs) -> list[docker.ContainerNetworksAdvancedArgs]:
        return [
            docker.ContainerNetworksAdvancedArgs(name=args.underlay_network, ipv4_address=args.underlay_address),
            docker.ContainerNetworksAdvancedArgs(name=self.site_network.name, ipv4_address=args.site_address),
        ]


def _published(args: WireGuardNodeArgs) -> list[docker.ContainerPortArgs]:
    if args.host_port is None:
        return []
    return [docker.ContainerPortArgs(internal=args.listen_port, external=args.host_port, protocol="udp", ip="0.0.0.0")]  # noqa: S104
