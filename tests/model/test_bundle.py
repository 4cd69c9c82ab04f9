"""What the nodes of a Docker host read."""

import io
import tarfile
from base64 import b64decode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.example import ACCESS, KEYS, MESH, NODE_A
from tests.model.strategies import configs, key_rings, topologies
from tests.model.test_firewall import FILTER_OF_NODE_A
from tests.model.test_names import HOSTS
from tests.model.test_wgconf import WG0_OF_NODE_A
from vpn.model.bundle import archive, gate_files, node_files, with_checksums
from vpn.model.config import parse
from vpn.model.hosts import LOCAL
from vpn.model.keys import KeyRing
from vpn.model.topology import Topology

FILES = ["hosts", "metrics", "nftables.nft", "node.env", "paths", "wg0.conf", "SHA256SUMS"]

ENVIRONMENT_OF_NODE_A = """\
NODE=node-a
ADDRESS=10.0.0.1/32
MTU=1420
MESH_RANGES="10.0.0.0/24 10.64.0.0/16 10.65.0.0/24"
SITE_RANGE=10.64.1.0/24
SITE_GATEWAY=10.64.1.1/24
UNDERLAY_GATEWAY=172.20.0.1
DOMAIN=vpn.dstack
MEMBER_RANGE=10.65.0.0/24
"""

SUMS_OF_NODE_A = """\
3b75519a6fa4e16805d0b92437a46589037daa873b36895854cdccc62e6357ba  hosts
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  metrics
c624f81985a9934e9876357cf8ff428c67d3b08ed53cad3224e87e4e7ebd1395  nftables.nft
116c0dfcc0069f06b3a434fdbced9677aad35faee027da2be762029d5f9ddbb4  node.env
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  paths
d29c62a608d344ad94c2f64dfd3a6961dc2bc98eb3a91a9b49d92e35ea5f9ab8  wg0.conf
"""


def unpack(bundle: str) -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file, in the archive's order."""
    with tarfile.open(fileobj=io.BytesIO(b64decode(bundle))) as tar:
        return {entry.name: (entry.mode, content(tar, entry)) for entry in tar}


def content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    assert file, f"{entry.name} is no file"
    return file.read()


def test_the_files_of_node_a() -> None:
    assert with_checksums(node_files(MESH, KEYS, NODE_A)) == {
        "hosts": HOSTS,
        "metrics": "",
        "nftables.nft": FILTER_OF_NODE_A,
        "node.env": ENVIRONMENT_OF_NODE_A,
        "paths": "",
        "wg0.conf": WG0_OF_NODE_A,
        "SHA256SUMS": SUMS_OF_NODE_A,
    }


def test_the_archive_has_a_folder_for_every_node_and_the_gate() -> None:
    folders = {node.name: node_files(MESH, KEYS, node) for node in MESH.nodes}
    folders["gate"] = gate_files(MESH, KEYS, ACCESS)
    assert {name: text.decode() for name, (_, text) in unpack(archive(MESH, KEYS, LOCAL)).items()} == {
        f"{folder}/{name}": text for folder, files in folders.items() for name, text in with_checksums(files).items()
    }


def test_without_access_there_is_nothing_for_a_gate() -> None:
    closed = replace(MESH, access=None)
    assert {name.split("/")[0] for name in unpack(archive(closed, KEYS, LOCAL))} == {"node-a", "node-b"}
    assert "MEMBER_RANGE" not in node_files(closed, KEYS, NODE_A)["node.env"]
    assert "10.65." not in "".join(node_files(closed, KEYS, NODE_A).values())


@given(topologies(), key_rings())
def test_equal_input_gives_equal_bytes(mesh: Topology, keys: KeyRing) -> None:
    assert archive(mesh, keys, LOCAL) == archive(mesh, KeyRing(seed=keys.seed, mesh=keys.mesh), LOCAL)


def test_the_archive_does_not_tell_when_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    before = archive(MESH, KEYS, LOCAL)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert archive(MESH, KEYS, LOCAL) == before


@given(topologies(), key_rings())
def test_only_the_owner_reads_a_file(mesh: Topology, keys: KeyRing) -> None:
    assert {mode for mode, _ in unpack(archive(mesh, keys, LOCAL)).values()} == {0o600}


@given(topologies(), key_rings())
def test_the_checksums_come_last_and_match(mesh: Topology, keys: KeyRing) -> None:
    mesh = replace(mesh, access=None)
    files = unpack(archive(mesh, keys, LOCAL))
    assert list(files) == [f"{node.name}/{name}" for node in mesh.nodes for name in FILES]
    for node in mesh.nodes:
        sums = [f"{sha256(files[f'{node.name}/{name}'][1]).hexdigest()}  {name}\n" for name in FILES[:-1]]
        assert files[f"{node.name}/SHA256SUMS"][1].decode() == "".join(sums)


@given(topologies(min_nodes=2), key_rings())
def test_a_node_reads_no_private_key_but_its_own(mesh: Topology, keys: KeyRing) -> None:
    texts = {node.name: "".join(node_files(mesh, keys, node).values()) for node in mesh.nodes}
    private = {node.name: keys.private_key(node.name, mesh.key_generation).base64() for node in mesh.nodes}
    assert {(reader, owner) for reader in texts for owner in private if private[owner] in texts[reader]} == {
        (name, name) for name in texts
    }


@st.composite
def grown(draw: st.DrawFn) -> tuple[Topology, Topology]:
    """A mesh before and after one node was added anywhere in the list."""
    config: dict[str, Any] = draw(configs())
    before = parse(config)
    place = draw(st.integers(0, len(before.nodes)))
    nodes = [*config["nodes"][:place], {"name": "newcomer"}, *config["nodes"][place:]]
    previous = {node.name: str(node.address) for node in before.nodes}
    previous |= {workload.name: str(workload.address) for workload in before.workloads}
    return before, parse(config | {"nodes": nodes}, previous)


@given(grown(), key_rings())
def test_an_added_node_adds_a_peer_and_a_name_to_the_others_and_changes_nothing_else(
    meshes: tuple[Topology, Topology], keys: KeyRing
) -> None:
    before, after = meshes
    newcomer = after.node("newcomer")
    for node in before.nodes:
        old, new = (with_checksums(node_files(mesh, keys, node)) for mesh in (before, after))
        assert [name for name in FILES if new[name] != old[name]] == ["hosts", "wg0.conf", "SHA256SUMS"]
        assert added(old["hosts"], new["hosts"], "\n") == [f"{newcomer.address} newcomer.vpn.dstack newcomer"]
        assert ["# newcomer" in peer for peer in added(old["wg0.conf"].rstrip(), new["wg0.conf"].rstrip(), "\n\n")] == [
            True
        ]


def added(old: str, new: str, separator: str) -> list[str]:
    """The parts of a text that are new; fails when an old one is gone or has another place."""
    rest = iter(old.split(separator))
    awaited = next(rest, None)
    parts = []
    for part in new.split(separator):
        if part == awaited:
            awaited = next(rest, None)
        else:
            parts.append(part)
    assert awaited is None, f"{awaited!r} is gone"
    return parts
