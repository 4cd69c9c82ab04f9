"""Monitoring at the site of a node: Prometheus with the status page, and Alertmanager."""

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from vpn.components.container import container_options, hardened
from vpn.components.volume import own_volume
from vpn.model.hosts import LOCAL, Host

MEMORY_MIB = 512
CONFIG_FOLDER = "/etc/monitoring"
DATA_FOLDER = "/var/lib/monitoring"
GRACE_SECONDS = 20  # Prometheus writes what is in memory before it ends


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """Where it stands. What it asks, and of what it warns, comes through its config volume."""

    mesh: pulumi.Input[str]
    """Identity of the mesh, on everything that belongs to it."""
    container_name: pulumi.Input[str]
    """Name of the container; its volumes are named after it."""
    image: pulumi.Input[str]
    """Image ID of docker/monitoring."""
    network: pulumi.Input[str]
    """The site network of its node."""
    address: pulumi.Input[str]
    """IPv4 address at the site."""
    resolver: pulumi.Input[str]
    """The node's address at the site, by which Alertmanager finds whom to tell."""
    host: Host = LOCAL
    """Where it runs."""


class Monitoring(pulumi.ComponentResource):
    """A hardened container, its config volume, and a volume for the samples that outlives it."""

    container: docker.Container
    config_volume: docker.Volume
    data_volume: docker.Volume

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:Monitoring", name, {}, opts)
        volume = pulumi.Output.concat(args.container_name, "-")
        self.config_volume = own_volume(self, name, args.mesh, pulumi.Output.concat(volume, "config"))
        self.data_volume = own_volume(self, f"{name}_data", args.mesh, pulumi.Output.concat(volume, "data"))
        self.container = docker.Container(name, self._container(name, args), container_options(self, name, args.host))
        self.register_outputs({"container": self.container.name})

    def _container(self, name: str, args: MonitoringArgs) -> docker.ContainerArgs:
        return hardened(
            mesh=args.mesh,
            name=args.container_name,
            image=args.image,
            hostname=name,
            memory=MEMORY_MIB,
            tmpfs=["/run", "/tmp"],  # noqa: S108 (in the container)
            destroy_grace_seconds=GRACE_SECONDS,
            stop_timeout=GRACE_SECONDS,
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=args.network, ipv4_address=args.address)],
            dns=[args.resolver],
            volumes=[
                docker.ContainerVolumeArgs(volume_name=self.config_volume.name, container_path=CONFIG_FOLDER),
                docker.ContainerVolumeArgs(volume_name=self.data_volume.name, container_path=DATA_FOLDER),
            ],
            healthcheck=docker.ContainerHealthcheckArgs(
                tests=["CMD", "monitor", "health"], interval="30s", timeout="10s", retries=2
            ),
        )
