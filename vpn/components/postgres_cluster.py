"""A PostgreSQL cluster at the sites of some nodes: PostgreSQL with Patroni, etcd, and HAProxy for its clients."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker
import pulumi_random as random

from vpn.components.container import container_options, hardened
from vpn.components.rolling import Member, back_after_create, in_turn, spared
from vpn.components.volume import own_volume
from vpn.model.hosts import Host
from vpn.model.pgbackrest import REPOSITORY
from vpn.model.postgres import BACKUP, ETCD, HAPROXY, POSTGRES, Place, Postgres

PASSWORD_LENGTH = 43  # letters and digits: 256 bits
CONFIG_FOLDER = "/etc/cluster"
DATA_FOLDERS = {POSTGRES: "/var/lib/postgresql", ETCD: "/var/lib/etcd", BACKUP: REPOSITORY}
MEMORY_MIB = {ETCD: 256, HAPROXY: 128, BACKUP: 256}
WAITED_FOR = (ETCD, POSTGRES)  # before the next is touched
# The program in the container is root without rights; it becomes the user of what it runs, and sends that signals.
CAPABILITIES = ("KILL", "SETGID", "SETUID")
GRACE_SECONDS = 60  # PostgreSQL writes all that is in memory before it ends, and hands over


@dataclass(frozen=True, kw_only=True)
class PostgresClusterArgs:
    """Where its containers stand. What they go by comes through their config volumes."""

    mesh: pulumi.Input[str]
    """Identity of the mesh, on everything that belongs to it."""
    prefix: str
    """Everything's name begins with it."""
    cluster: Postgres
    """A checked cluster."""
    hosts: Mapping[str, Host]
    """Where each node runs, by its name."""
    networks: Mapping[str, pulumi.Input[str]]
    """Site network of each node, by its name."""
    resolvers: Mapping[str, str]
    """Address of each node at its site, by its name; it answers for the names of the mesh."""
    domain: str
    """Search domain."""
    images: Mapping[str, pulumi.Input[str]]
    """Image ID of docker/postgres on each host, by its name."""
    engines: Mapping[str, docker.Provider | None]
    """What speaks with the engine of each host, by its name."""


class PostgresCluster(pulumi.ComponentResource):
    """Hardened containers at the sites, volumes that outlive them, and a password for every account."""

    passwords: dict[str, pulumi.Output[str]]
    """By account; secrets."""
    roles: tuple[str, ...]
    """The accounts that are for users."""
    containers: dict[str, docker.Container]
    config_volumes: dict[str, docker.Volume]

    def __init__(self, name: str, args: PostgresClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("dstack-vpn:index:PostgresCluster", name, {}, opts)
        self._args = args
        cluster = args.cluster
        self.roles = cluster.roles
        self.containers, self.config_volumes = {}, {}
        self.passwords = {account: self._password(account) for account in cluster.accounts}
        last = self._one_after_another(cluster.members(ETCD), None)
        self._one_after_another(cluster.members(POSTGRES), last)
        for place in cluster.places:
            if place.kind not in WAITED_FOR:
                self._container(place)
        self.register_outputs({"containers": {name: one.name for name, one in self.containers.items()}})

    def _password(self, account: str) -> pulumi.Output[str]:
        options = pulumi.ResourceOptions(parent=self, additional_secret_outputs=["result"])
        made = random.RandomPassword(f"postgres_{account}", length=PASSWORD_LENGTH, special=False, opts=options)
        return pulumi.Output.secret(made.result)

    def _one_after_another(self, places: tuple[Place, ...], before: docker.Container | None) -> docker.Container | None:
        members = {self._member(place): place for place in places}
        for member in in_turn(list(members)):
            others = tuple(other for other in members if other != member)
            before = self._container(members[member], _Turn(others, before))
        return before

    def _member(self, place: Place) -> Member:
        return Member(container=f"{self._args.prefix}-{place.name}", host=self._args.hosts[place.node])

    def _container(self, place: Place, turn: "_Turn | None" = None) -> docker.Container:
        member = self._member(place)
        options = pulumi.ResourceOptions(parent=self, providers=self._on(member.host))
        part = _Part(place, self._args, options, member, turn)
        self.containers[place.name], self.config_volumes[place.name] = part.container, part.config_volume
        return part.container

    def _on(self, host: Host) -> list[pulumi.ProviderResource] | None:
        engine = self._args.engines[host.name]
        return [engine] if engine else None


@dataclass(frozen=True)
class _Turn:
    """When a member may be replaced: not beside these others, and after that one."""

    others: tuple[Member, ...]
    before: docker.Container | None


class _Part(pulumi.ComponentResource):
    """One container of the cluster, and its volumes."""

    def __init__(
        self, place: Place, args: PostgresClusterArgs, opts: pulumi.ResourceOptions, member: Member, turn: _Turn | None
    ) -> None:
        super().__init__("dstack-vpn:index:PostgresPart", place.name, {}, opts)
        self._place, self._args, self._member, self._turn = place, args, member, turn
        name = place.name
        self.config_volume = own_volume(self, name, args.mesh, f"{member.container}-config")
        self._data = self._data_volume() if place.kind in DATA_FOLDERS else None
        options = container_options(self, name, member.host)
        if turn:
            options = pulumi.ResourceOptions.merge(options, self._after(turn))
        self.container = docker.Container(name, self._container(), options)
        self.register_outputs({"container": self.container.name})

    def _after(self, turn: _Turn) -> pulumi.ResourceOptions:
        before = [turn.before] if turn.before else None
        return pulumi.ResourceOptions(depends_on=before, hooks=back_after_create(self._member))

    def _data_volume(self) -> docker.Volume:
        protect = self._args.cluster.protect
        return own_volume(
            self, f"{self._place.name}_data", self._args.mesh, f"{self._member.container}-data", protect=protect
        )

    def _container(self) -> docker.ContainerArgs:
        args, place = self._args, self._place
        image = args.images[self._member.host.name]
        memory = args.cluster.memory if place.kind == POSTGRES else MEMORY_MIB[place.kind]
        return hardened(
            mesh=args.mesh,
            name=self._member.container,
            image=spared(image, memory, self._member, self._turn.others) if self._turn else image,
            command=["member", place.kind],
            hostname=place.name,
            memory=memory,
            shm_size=memory // 4,  # PostgreSQL's parallel queries share it
            tmpfs=["/run", "/run/cluster", "/tmp"],  # noqa: S108 (in the container)
            capabilities=CAPABILITIES,
            destroy_grace_seconds=GRACE_SECONDS,
            stop_timeout=GRACE_SECONDS,
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=args.networks[place.node], ipv4_address=str(place.address))
            ],
            dns=[args.resolvers[place.node]],
            dns_searches=[args.domain],
            volumes=self._volumes(),
            healthcheck=docker.ContainerHealthcheckArgs(
                tests=["CMD", "member", "health"], interval="30s", timeout="10s", retries=2
            ),
        )

    def _volumes(self) -> list[docker.ContainerVolumeArgs]:
        config = docker.ContainerVolumeArgs(volume_name=self.config_volume.name, container_path=CONFIG_FOLDER)
        if self._data is None:
            return [config]
        folder = DATA_FOLDERS[self._place.kind]
        return [config, docker.ContainerVolumeArgs(volume_name=self._data.name, container_path=folder)]
