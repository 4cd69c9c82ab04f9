"""The whole mesh on one Docker host."""

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker
import pulumi_random as random

from vpn.components.access_control import AccessControl, AccessControlArgs
from vpn.components.config_carrier import ConfigCarrier, ConfigCarrierArgs
from vpn.components.delivery import until_applied
from vpn.components.image import built_image
from vpn.components.mullvad_proxy import MullvadProxy, MullvadProxyArgs
from vpn.components.network import bridge, network_options
from vpn.components.volume import own_volume
from vpn.components.wireguard_node import WireGuardNode, WireGuardNodeArgs
from vpn.components.workload import WorkloadContainer, WorkloadContainerArgs
from vpn.model.bundle import archive
from vpn.model.keys import SEED_LENGTH, KeyRing
from vpn.model.topology import CARRIER, GATE, Node, Topology, Workload, proxy_name
from vpn.model.wgconf import public_key


@dataclass(frozen=True, kw_only=True)
class VpnMeshArgs:
    """What the mesh is made of."""

    topology: Topology
    """A checked mesh, from `vpn.model.config.parse` or built by hand."""


class VpnMesh(pulumi.ComponentResource):
    """Nodes, their workloads, the underlay, the keys, and who else may join."""

    nodes: dict[str, WireGuardNode]
    public_keys: pulumi.Output[dict[str, str]]
    """Base64 of every node's public key, by the node's name."""
    identity: pulumi.Output[str]
    """On everything in Docker that belongs to this mesh; derived from the seed, so no other state has it."""
    applied: pulumi.Output[bool]
    """True once every node has applied its config, and relays and gate theirs; the `up` fails when one does not."""
    proxies: dict[str, MullvadProxy]
    """The relay beside a node, by its own name, for those whose links go over TCP."""
    access: AccessControl | None
    """Who lets others than the nodes in; None when nobody does."""

    def __init__(self, name: str, args: VpnMeshArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:VpnMesh", name, {}, opts)
        self._topology = args.topology
        self._prefix = args.topology.name
        seed = self._seed()
        # The only place where something derived from the seed ceases to be a secret.
        public = pulumi.Output.unsecret(seed.apply(lambda text: public_view(args.topology, text)))
        self.identity = public.apply(lambda view: view.identity)
        self.public_keys = public.apply(lambda view: view.keys)
        # No workload can have a name with "_".
        self._image = built_image("node_image", f"{self._prefix}/node", "docker/wireguard", self)
        self._underlay = self._underlay_network()
        self._members = self._members_volume()
        self.nodes = {node.name: self._node(node) for node in args.topology.nodes}
        self.proxies = self._proxies()
        self.access = self._access_control()
        carrier = self._carrier(seed).container
        self.applied = carrier.id.apply(lambda container: until_applied(container, len(self._readers)))
        self.workloads = [self._workload(workload) for workload in args.topology.workloads]
        self.register_outputs({"identity": self.identity, "publicKeys": self.public_keys, "applied": self.applied})

    def _seed(self) -> pulumi.Output[str]:
        """The mesh's one secret; every key is derived from it."""
        options = pulumi.ResourceOptions(parent=self, additional_secret_outputs=["result"])
        return pulumi.Output.secret(
            random.RandomPassword("seed", length=SEED_LENGTH, special=False, opts=options).result
        )

    def _underlay_network(self) -> docker.Network:
        topology = self._topology
        network = bridge(
            mesh=self.identity,
            name=f"{self._prefix}-network",
            subnet=str(topology.underlay_range),
            gateway=str(topology.underlay_gateway),
        )
        return docker.Network("underlay", network, network_options(self, "underlay"))

    def _members_volume(self) -> docker.Volume:
        """In memory only, as a lease is; there also without a gate, because adding one must not replace a node."""
        options = {"type": "tmpfs", "device": "tmpfs", "o": "size=4m,mode=0700"}
        return own_volume(self, "members", self.identity, f"{self._prefix}-members", options)

    def _access_control(self) -> AccessControl | None:
        access = self._topology.access
        if access is None:
            return None
        args = AccessControlArgs(
            mesh=self.identity, prefix=self._prefix, access=access, members_volume=self._members.name
        )
        return AccessControl("access", args, pulumi.ResourceOptions(parent=self))

    def _node(self, node: Node) -> WireGuardNode:
        args = WireGuardNodeArgs(
            mesh=self.identity,
            container_name=f"{self._prefix}-{node.name}",
            image=self._image.image_id,
            underlay_network=self._underlay.name,
            underlay_address=str(node.underlay),
            site_range=str(node.site),
            site_gateway=str(node.gateway),
            site_address=str(node.site_address),
            members_volume=self._members.name,
            listen_port=self._topology.listen_port,
            host_port=node.host_port,
        )
        return WireGuardNode(node.name, args, pulumi.ResourceOptions(parent=self))

    def _proxies(self) -> dict[str, MullvadProxy]:
        if not self._topology.proxied:
            return {}
        image = built_image("proxy_image", f"{self._prefix}/mullvad-proxy", "docker/udp-over-tcp", self).image_id
        return {proxy_name(node.name): self._proxy(node, image) for node in self._topology.proxied}

    def _proxy(self, node: Node, image: pulumi.Input[str]) -> MullvadProxy:
        name = proxy_name(node.name)
        args = MullvadProxyArgs(
            mesh=self.identity,
            container_name=f"{self._prefix}-{name}",
            image=image,
            underlay_network=self._underlay.name,
            address=str(self._topology.proxy_address(node)),
            listen_port=self._topology.listen_port,
            host_port=self._topology.proxy_host_port(node),
        )
        return MullvadProxy(name, args, pulumi.ResourceOptions(parent=self))

    def _carrier(self, seed: pulumi.Output[str]) -> ConfigCarrier:
        args = ConfigCarrierArgs(
            mesh=self.identity,
            container_name=f"{self._prefix}-{CARRIER}",
            image=self._image.image_id,
            bundle=seed.apply(lambda text: archive(self._topology, KeyRing(seed=text, mesh=self._prefix))),
            volumes={name: volume.name for name, (volume, _) in self._readers.items()},
            readers=pulumi.Output.all(**{name: container.id for name, (_, container) in self._readers.items()}),
        )
        return ConfigCarrier("config", args, pulumi.ResourceOptions(parent=self))

    @property
    def _readers(self) -> dict[str, tuple[docker.Volume, docker.Container]]:
        """Who reads the carrier's files: config volume and container, by the name of the folder."""
        readers = {name: (node.config_volume, node.container) for name, node in self.nodes.items()}
        readers |= {name: (proxy.config_volume, proxy.container) for name, proxy in self.proxies.items()}
        return readers | ({GATE: (self.access.gate_volume, self.access.gate)} if self.access else {})

    def _workload(self, workload: Workload) -> WorkloadContainer:
        node = self._topology.node(workload.node)
        args = WorkloadContainerArgs(
            mesh=self.identity,
            container_name=workload.name,
            image=self._workload_image(workload),
            network=self.nodes[node.name].site_network.name,
            address=str(workload.address),
            resolver=str(node.gateway),
            domain=self._topology.domain,
            command=workload.command,
        )
        return WorkloadContainer(workload.name, args, pulumi.ResourceOptions(parent=self))

    def _workload_image(self, workload: Workload) -> pulumi.Input[str]:
        name, options = workload.name, pulumi.ResourceOptions(parent=self)
        if workload.build is not None:
            return built_image(name, f"{self._prefix}/{name}", workload.build, self).image_id
        return docker.RemoteImage(name, name=str(workload.image), keep_locally=True, opts=options).image_id


@dataclass(frozen=True)
class PublicView:
    """What anybody may know of the keys."""

    identity: str
    keys: dict[str, str]


def public_view(topology: Topology, seed: str) -> PublicView:
    """Identity of the mesh, and base64 of every node's public key."""
    ring = KeyRing(seed=seed, mesh=topology.name)
    keys = {node.name: public_key(topology, ring, node) for node in topology.nodes}
    return PublicView(ring.identity(), keys)
