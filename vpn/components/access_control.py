"""Access that follows the passes on a chain: the access gate, and the chain itself unless it is a real one."""

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from vpn.components.container import container_options, hardened
from vpn.components.image import built_image
from vpn.components.network import bridge, network_options
from vpn.components.volume import own_volume
from vpn.model.access import CHAIN_RPC_PORT, Access
from vpn.model.hosts import LOCAL, Host
from vpn.model.topology import CHAIN, GATE

GATE_MEMORY_MIB = 64
CHAIN_MEMORY_MIB = 512
LOOPBACK = "127.0.0.1"
AUDIT_LOGS = {"max-size": "10m", "max-file": "5"}  # about 100,000 lines


@dataclass(frozen=True, kw_only=True)
class AccessControlArgs:
    """Where gate and chain stand. What the gate goes by comes through its config volume."""

    mesh: pulumi.Input[str]
    """Identity of the mesh, on everything that belongs to it."""
    prefix: str
    """Everything's name begins with it."""
    access: Access
    """A checked rule of access."""
    members_volume: pulumi.Input[str]
    """Where the gate writes, and the nodes read, who may join."""
    host: Host = LOCAL
    """Where it runs."""


class AccessControl(pulumi.ComponentResource):
    """A gate without capabilities and keys, and an embedded chain with the contract unless there is a real one."""

    gate: docker.Container
    gate_volume: docker.Volume
    """The gate's config volume."""
    chain: docker.Container | None = None

    def __init__(self, name: str, args: AccessControlArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:AccessControl", name, {}, opts)
        self._args = args
        # Of its own, because whoever reaches the embedded chain is its admin.
        self._network = docker.Network(name, self._bridge(), network_options(self, name, args.host))
        if args.access.embedded:
            self.chain = docker.Container(CHAIN, self._chain(), container_options(self, CHAIN, args.host))
        gate = f"{args.host.name}_{GATE}"  # one on every host
        self.gate_volume = own_volume(self, gate, args.mesh, f"{args.prefix}-{GATE}")
        self.gate = docker.Container(gate, self._gate(), container_options(self, gate, args.host))
        self.register_outputs({"gate": self.gate.name})

    def _bridge(self) -> docker.NetworkArgs:
        access = self._args.access
        subnet, gateway = str(access.gate_range), str(access.gateway)
        return bridge(mesh=self._args.mesh, name=f"{self._args.prefix}-access", subnet=subnet, gateway=gateway)

    def _gate(self) -> docker.ContainerArgs:
        args = self._args
        return hardened(
            mesh=args.mesh,
            name=f"{args.prefix}-{GATE}",
            image=built_image(f"{args.host.name}_{GATE}_image", f"{args.prefix}/{GATE}", "docker/gate", self).image_id,
            memory=GATE_MEMORY_MIB,
            tmpfs=["/run"],
            log_opts=AUDIT_LOGS,
            networks_advanced=[self._place(str(args.access.gate_address))],
            volumes=[
                docker.ContainerVolumeArgs(volume_name=self.gate_volume.name, container_path="/etc/access-gate"),
                docker.ContainerVolumeArgs(volume_name=args.members_volume, container_path="/members"),
            ],
            healthcheck=_healthcheck("health"),
        )

    def _chain(self) -> docker.ContainerArgs:
        args, access = self._args, self._args.access
        state = own_volume(self, CHAIN, args.mesh, f"{args.prefix}-{CHAIN}")
        port = docker.ContainerPortArgs(internal=CHAIN_RPC_PORT, external=access.chain_port, ip=LOOPBACK)
        return hardened(
            mesh=args.mesh,
            name=f"{args.prefix}-{CHAIN}",
            image=built_image(f"{CHAIN}_image", f"{args.prefix}/{CHAIN}", "contracts", self).image_id,
            command=["chain", str(access.capacity)],
            memory=CHAIN_MEMORY_MIB,
            tmpfs=["/tmp"],  # noqa: S108 (in the container)
            networks_advanced=[self._place(str(access.chain_address))],
            ports=[port],
            volumes=[docker.ContainerVolumeArgs(volume_name=state.name, container_path="/data")],
            healthcheck=_healthcheck("chain", "health"),
        )

    def _place(self, address: str) -> docker.ContainerNetworksAdvancedArgs:
        return docker.ContainerNetworksAdvancedArgs(name=self._network.name, ipv4_address=address)


def _healthcheck(*command: str) -> docker.ContainerHealthcheckArgs:
    return docker.ContainerHealthcheckArgs(tests=["CMD", *command], interval="30s", timeout="10s", retries=2)
