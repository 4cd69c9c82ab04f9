"""The whole mesh, on one or several Docker hosts."""

from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial

import pulumi
import pulumi_docker as docker
import pulumi_random as random

from vpn.components.access_control import AccessControl, AccessControlArgs
from vpn.components.config_carrier import ConfigCarrier, ConfigCarrierArgs
from vpn.components.delivery import Recipient, until_applied
from vpn.components.docker_host import DockerHost, DockerHostArgs, provider
from vpn.components.dstack_node import DstackNode, DstackNodeArgs
from vpn.components.image import built_image
from vpn.components.monitoring import Monitoring, MonitoringArgs
from vpn.components.mullvad_proxy import MullvadProxy, MullvadProxyArgs
from vpn.components.postgres_cluster import PostgresCluster, PostgresClusterArgs
from vpn.components.recipients import Carrier, Keeper
from vpn.components.wireguard_node import WireGuardNode, WireGuardNodeArgs
from vpn.components.workload import WorkloadContainer, WorkloadContainerArgs
from vpn.model import monitoring as model
from vpn.model import order
from vpn.model.access import Access
from vpn.model.bundle import archive
from vpn.model.hosts import Host
from vpn.model.keys import SEED_LENGTH, KeyRing
from vpn.model.postgres import Postgres
from vpn.model.topology import CARRIER, GATE, Node, Topology, Workload, proxy_name
from vpn.model.wgconf import public_key

GUEST_READERS = 2  # a node and its relay
KEY_PATIENCE, KEY_PATIENCE_OF_MANY = 15_000, 60_000  # milliseconds; a host that builds an image may be late


@dataclass(frozen=True, kw_only=True)
class VpnMeshArgs:
    """What the mesh is made of."""

    topology: Topology
    """A checked mesh, from `vpn.model.config.parse` or built by hand."""


class VpnMesh(pulumi.ComponentResource):
    """Hosts, nodes, their workloads, the keys, and who else may join."""

    hosts: dict[str, DockerHost]
    nodes: dict[str, WireGuardNode]
    """Those on hosts with a Docker engine of ours."""
    guests: dict[str, DstackNode]
    """Those in confidential VMs."""
    proxies: dict[str, MullvadProxy]
    """The relay beside a node, by its own name, for those whose links go over TCP."""
    access: dict[str, AccessControl]
    """Who lets others than the nodes in, by the host; empty when nobody does."""
    postgres: PostgresCluster | None = None
    monitoring: Monitoring | None = None
    public_keys: pulumi.Output[dict[str, str]]
    """Base64 of every node's public key, by the node's name; not of those whose VM is to be deployed first."""
    signer: pulumi.Output[str]
    """Public key, in hexadecimal, of who gives orders to nodes in confidential VMs."""
    identity: pulumi.Output[str]
    """On everything in Docker that belongs to this mesh; derived from the seed, so no other state has it."""
    applied: pulumi.Output[bool]
    """True once every node has applied its config, and relays and gates theirs; the `up` fails when one does not."""

    def __init__(self, name: str, args: VpnMeshArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:VpnMesh", name, {}, opts)
        topology = self._topology = args.topology
        self._prefix = topology.name
        seed = self._seed()
        # The only place where something derived from the seed ceases to be a secret.
        public = pulumi.Output.unsecret(seed.apply(lambda text: public_view(topology, text)))
        self.identity = public.apply(lambda view: view.identity)
        self.public_keys = public.apply(lambda view: view.keys)
        self.signer = public.apply(lambda view: view.signer)
        self._engines = {host.name: provider(host, self) for host in topology.engines}
        self.hosts = {host.name: self._host(host) for host in topology.engines}
        self.nodes = {node.name: self._node(node) for node in topology.nodes if not node.host.guest}
        self.guests = {node.name: self._guest(node) for node in topology.guests}
        self.proxies = self._proxies()
        self.access = {host.name: self._gate(host, topology.access) for host in topology.engines if topology.access}
        self.postgres = self._postgres(topology.postgres) if topology.postgres else None
        self.monitoring = self._monitoring(topology.monitoring) if topology.monitoring else None
        self.applied = self._applied(seed)
        on_engines = [one for one in topology.workloads if one.node in self.nodes]
        self.workloads = [self._workload(workload) for workload in on_engines]
        self.register_outputs({"identity": self.identity, "publicKeys": self.public_keys, "applied": self.applied})

    def _seed(self) -> pulumi.Output[str]:
        """The mesh's one secret; every key is derived from it."""
        options = pulumi.ResourceOptions(parent=self, additional_secret_outputs=["result"])
        return pulumi.Output.secret(
            random.RandomPassword("seed", length=SEED_LENGTH, special=False, opts=options).result
        )

    def _host(self, host: Host) -> DockerHost:
        engine = self._engines[host.name]
        options = pulumi.ResourceOptions(parent=self, providers=[engine] if engine else None)
        return DockerHost(host.name, DockerHostArgs(mesh=self.identity, topology=self._topology, host=host), options)

    def _on(self, host: Host) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self.hosts[host.name])

    def _gate(self, host: Host, access: Access) -> AccessControl:
        members = self.hosts[host.name].members.name
        args = AccessControlArgs(
            mesh=self.identity, prefix=self._prefix, access=access, members_volume=members, host=host
        )
        return AccessControl(f"{host.name}_access", args, self._on(host))

    def _node(self, node: Node) -> WireGuardNode:
        host = self.hosts[node.host.name]
        args = WireGuardNodeArgs(
            mesh=self.identity,
            container_name=f"{self._prefix}-{node.name}",
            image=host.node_image.image_id,
            underlay_network=host.underlay.name,
            underlay_address=str(node.underlay),
            site_name=f"{self._prefix}-site-{node.name}",
            site_range=str(node.site),
            site_gateway=str(node.gateway),
            site_address=str(node.site_address),
            members_volume=host.members.name,
            listen_port=self._topology.listen_port,
            host_port=node.host_port,
            host=node.host,
        )
        return WireGuardNode(node.name, args, self._on(node.host))

    def _guest(self, node: Node) -> DstackNode:
        args = DstackNodeArgs(topology=self._topology, node=node, signer=self.signer)
        return DstackNode(node.name, args, pulumi.ResourceOptions(parent=self))

    def _proxies(self) -> dict[str, MullvadProxy]:
        proxied = [node for node in self._topology.proxied if not node.host.guest]
        hosts = dict.fromkeys(node.host for node in proxied)
        images = {host: self.hosts[host.name].image("mullvad-proxy", "docker/udp-over-tcp").image_id for host in hosts}
        return {proxy_name(node.name): self._proxy(node, images[node.host]) for node in proxied}

    def _proxy(self, node: Node, image: pulumi.Input[str]) -> MullvadProxy:
        name = proxy_name(node.name)
        args = MullvadProxyArgs(
            mesh=self.identity,
            container_name=f"{self._prefix}-{name}",
            image=image,
            underlay_network=self.hosts[node.host.name].underlay.name,
            address=str(self._topology.proxy_address(node)),
            listen_port=self._topology.listen_port,
            host_port=self._topology.proxy_host_port(node),
            host=node.host,
        )
        return MullvadProxy(name, args, self._on(node.host))

    def _applied(self, seed: pulumi.Output[str]) -> pulumi.Output[bool]:
        carriers = {host: self._carrier(host, seed).container.id for host in self._topology.engines}
        admitted = [node for node in self._topology.guests if node.name not in self._topology.outside]
        count = sum(len(self._readers(host)) for host in carriers) + GUEST_READERS * len(admitted)

        def wait(found: list[str]) -> Awaitable[bool]:
            text, *ids = found
            keepers: list[Recipient] = [self._keeper(node, text) for node in admitted]
            brought = [Carrier(host=host, container=one) for host, one in zip(carriers, ids, strict=True)]
            return until_applied([*brought, *keepers], count)

        return pulumi.Output.unsecret(pulumi.Output.all(seed, *carriers.values()).apply(wait))

    def _keeper(self, node: Node, seed: str) -> Keeper:
        keys = KeyRing(seed=seed, mesh=self._prefix)
        sign = partial(order.signed, self._topology, keys, node)
        return Keeper(name=node.host.name, ingress=self._topology.keeper(node), order=sign)

    def _carrier(self, host: Host, seed: pulumi.Output[str]) -> ConfigCarrier:
        readers = self._readers(host)
        args = ConfigCarrierArgs(
            mesh=self.identity,
            container_name=f"{self._prefix}-{CARRIER}",
            image=self.hosts[host.name].node_image.image_id,
            bundle=self._bundle(host, seed),
            volumes={name: volume.name for name, (volume, _) in readers.items()},
            readers=pulumi.Output.all(**{name: container.id for name, (_, container) in readers.items()}),
            patience=KEY_PATIENCE if len(self._topology.hosts) == 1 else KEY_PATIENCE_OF_MANY,
            host=host,
        )
        return ConfigCarrier(f"{host.name}_config", args, self._on(host))

    def _bundle(self, host: Host, seed: pulumi.Output[str]) -> pulumi.Output[str]:
        topology, prefix = self._topology, self._prefix
        passwords = pulumi.Output.all(**(self.postgres.passwords if self.postgres else {}))
        both = pulumi.Output.all(seed, passwords)
        return both.apply(lambda known: archive(topology, KeyRing(seed=known[0], mesh=prefix), host, known[1]))

    def _postgres(self, cluster: Postgres) -> PostgresCluster:
        hosts = {node.name: node.host for node in self._topology.nodes}
        used = dict.fromkeys(hosts[place.node].name for place in cluster.places)
        args = PostgresClusterArgs(
            mesh=self.identity,
            prefix=self._prefix,
            cluster=cluster,
            hosts=hosts,
            networks={name: node.site_network.name for name, node in self.nodes.items()},
            resolvers={node.name: str(node.gateway) for node in self._topology.nodes},
            domain=self._topology.domain,
            images={name: self.hosts[name].image("postgres", "docker/postgres").image_id for name in used},
            engines=self._engines,
        )
        return PostgresCluster("postgres", args, pulumi.ResourceOptions(parent=self))

    def _monitoring(self, monitoring: model.Monitoring) -> Monitoring:
        node = self._topology.node(monitoring.node)
        args = MonitoringArgs(
            mesh=self.identity,
            container_name=f"{self._prefix}-{monitoring.name}",
            image=self.hosts[node.host.name].image("monitoring", "docker/monitoring").image_id,
            network=self.nodes[node.name].site_network.name,
            address=str(monitoring.address),
            resolver=str(node.gateway),
            host=node.host,
        )
        return Monitoring(monitoring.name, args, self._on(node.host))

    def _readers(self, host: Host) -> dict[str, tuple[docker.Volume, docker.Container]]:
        """Who reads the files of a host's carrier: config volume and container, by the name of the folder."""
        nodes = self._topology.nodes_on(host)
        readers = {node.name: self.nodes[node.name] for node in nodes}
        proxies = {name: self.proxies[name] for node in nodes if (name := proxy_name(node.name)) in self.proxies}
        found = {name: (one.config_volume, one.container) for name, one in (readers | proxies).items()}
        found |= self._databases(host)
        monitoring = self._topology.monitoring
        if self.monitoring and monitoring and self._topology.node(monitoring.node).host == host:
            found[monitoring.name] = (self.monitoring.config_volume, self.monitoring.container)
        gate = self.access.get(host.name)
        return found | ({GATE: (gate.gate_volume, gate.gate)} if gate else {})

    def _databases(self, host: Host) -> dict[str, tuple[docker.Volume, docker.Container]]:
        cluster, places = self.postgres, self._topology.postgres.places if self._topology.postgres else ()
        if cluster is None:
            return {}
        here = [one.name for one in places if self._topology.node(one.node).host == host]
        return {name: (cluster.config_volumes[name], cluster.containers[name]) for name in here}

    def _workload(self, workload: Workload) -> WorkloadContainer:
        node = self._topology.node(workload.node)
        args = WorkloadContainerArgs(
            mesh=self.identity,
            container_name=workload.name,
            image=self._workload_image(workload, node.host),
            network=self.nodes[node.name].site_network.name,
            address=str(workload.address),
            resolver=str(node.gateway),
            domain=self._topology.domain,
            command=workload.command,
            host=node.host,
        )
        return WorkloadContainer(workload.name, args, self._on(node.host))

    def _workload_image(self, workload: Workload, host: Host) -> pulumi.Input[str]:
        name = workload.name
        if workload.build is not None:
            return built_image(name, f"{self._prefix}/{name}", workload.build, self.hosts[host.name]).image_id
        return docker.RemoteImage(name, name=str(workload.image), keep_locally=True, opts=self._on(host)).image_id


@dataclass(frozen=True)
class PublicView:
    """What anybody may know of the keys."""

    identity: str
    signer: str
    keys: dict[str, str]


def public_view(topology: Topology, seed: str) -> PublicView:
    """Identity of the mesh, who signs orders, and base64 of every node's public key."""
    ring = KeyRing(seed=seed, mesh=topology.name)
    keys = {node.name: public_key(topology, ring, node) for node in topology.inside}
    return PublicView(ring.identity(), ring.signer(), keys)
