"""The same PostgreSQL cluster without a mesh: same image, same files, all on one plain bridge."""

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

import docker
from tests.bench.engine import PREFIX, clear
from vpn.components.postgres_cluster import CAPABILITIES, CONFIG_FOLDER, DATA_FOLDERS
from vpn.model.bundle import with_checksums
from vpn.model.keys import SEED_LENGTH, KeyRing
from vpn.model.postgres import Place, Postgres
from vpn.model.postgres_files import Cluster

OWN = f"{PREFIX}-plain"
RANGE = IPv4Network("172.28.0.0/16")
PASSWORD = "bench"
TMPFS = dict.fromkeys(("/run", "/run/cluster", "/tmp"), "rw,nosuid,nodev,noexec,size=16m,mode=1777")
CLIENT_ADDRESS = "172.28.0.10"


@contextmanager
def running(postgres: Postgres, image: str) -> Iterator[str]:
    """Bring it up, and a client beside it, whose container's name is returned; nothing is left afterwards."""
    cluster = postgres.at(dict(zip(postgres.sites, RANGE.subnets(new_prefix=24), strict=False)))
    engine = docker.from_env()
    maker = _Maker(engine, image)
    try:
        pool = IPAMPool(subnet=str(RANGE))
        engine.networks.create(OWN, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]))
        for place in cluster.places:
            maker.start(place, _files(cluster, place))
        yield maker.client()
    finally:
        engine.close()
        clear(OWN)


def _files(cluster: Postgres, place: Place) -> dict[str, str]:
    ring = KeyRing(seed="x" * SEED_LENGTH, mesh=OWN)
    passwords = dict.fromkeys(cluster.accounts, PASSWORD)
    one = Cluster(name=OWN, postgres=cluster, keys=ring, passwords=passwords)
    return with_checksums(one.files(place))


@dataclass(frozen=True)
class _Maker:
    engine: docker.DockerClient
    image: str

    def start(self, place: Place, files: dict[str, str]) -> None:
        """A container of the cluster, with its files."""
        name = f"{OWN}-{place.name}"
        volumes = {f"{name}-config": {"bind": CONFIG_FOLDER}}
        if place.kind in DATA_FOLDERS:
            volumes[f"{name}-data"] = {"bind": DATA_FOLDERS[place.kind]}
        made = self._make(name, ["member", place.kind], str(place.address), volumes)
        made.put_archive(CONFIG_FOLDER, _archive(files))
        made.start()

    def client(self) -> str:
        """A container to measure from; its name."""
        made = self._make(f"{OWN}-client", ["sleep", "infinity"], CLIENT_ADDRESS, {})
        made.start()
        return str(made.name)

    def _make(self, name: str, command: list[str], address: str, binds: Mapping[str, Any]) -> Container:
        api = self.engine.api
        host = api.create_host_config(
            binds=binds,
            cap_drop=["ALL"],
            cap_add=list(CAPABILITIES),
            read_only=True,
            tmpfs=TMPFS,
            restart_policy={"Name": "unless-stopped"},
        )
        network = api.create_networking_config({OWN: api.create_endpoint_config(ipv4_address=address)})
        made = api.create_container(self.image, command, name=name, host_config=host, networking_config=network)
        return self.engine.containers.get(made["Id"])


def _archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o600
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
