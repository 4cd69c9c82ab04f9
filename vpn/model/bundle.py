"""Everything that what is on a Docker host reads, as files and as one reproducible archive."""

import gzip
import io
import tarfile
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

from vpn.model import firewall, gate, metrics, monitoring_files, names, paths, relay, wgconf
from vpn.model.access import Access
from vpn.model.hosts import Host
from vpn.model.keys import KeyRing
from vpn.model.monitoring import MONITORING
from vpn.model.postgres_files import Cluster
from vpn.model.topology import GATE, Node, Topology, proxy_name

CHECKSUMS = "SHA256SUMS"


def node_files(topology: Topology, keys: KeyRing, node: Node) -> dict[str, str]:
    """The config folder of one node: name -> text."""
    return {
        "hosts": names.render(topology),
        "metrics": metrics.render(topology, keys, node),
        "nftables.nft": firewall.render(topology, node),
        "node.env": _environment(topology, node),
        "paths": paths.render(topology, keys, node),
        "wg0.conf": wgconf.render(topology, keys, node),
    }


def gate_files(topology: Topology, keys: KeyRing, access: Access) -> dict[str, str]:
    """The config folder of the access gate: name -> text."""
    return {"settings.json": gate.render(topology, keys, access)}


def proxy_files(topology: Topology, keys: KeyRing, node: Node) -> dict[str, str]:
    """The config folder of the relay beside a node: name -> text."""
    return {"settings.json": relay.render(topology, keys, node)}


def cluster_files(
    topology: Topology, keys: KeyRing, passwords: Mapping[str, str], host: Host
) -> dict[str, dict[str, str]]:
    """The config folders of a PostgreSQL cluster's containers on a host, by their names."""
    if topology.postgres is None:
        return {}
    cluster = Cluster(
        name=topology.name,
        postgres=topology.postgres,
        keys=keys,
        passwords=passwords,
    )
    here = [place for place in topology.postgres.places if topology.node(place.node).host == host]
    return {place.name: cluster.files(place) for place in here}


def with_checksums(files: dict[str, str]) -> dict[str, str]:
    """The checksums come last and name the generation of the whole."""
    sums = "".join(f"{sha256(text.encode()).hexdigest()}  {name}\n" for name, text in files.items())
    return {**files, CHECKSUMS: sums}


def archive(topology: Topology, keys: KeyRing, host: Host, passwords: Mapping[str, str] | None = None) -> str:
    """Base64 of a tar.gz with a folder for everything on a host that reads one; equal input, equal bytes.

    `passwords` are those of the PostgreSQL cluster's accounts.
    """
    folders = {node.name: node_files(topology, keys, node) for node in topology.nodes_on(host)}
    proxied = [node for node in topology.proxied if node.host == host]
    folders |= {proxy_name(node.name): proxy_files(topology, keys, node) for node in proxied}
    folders |= cluster_files(topology, keys, passwords or {}, host)
    if topology.monitoring and topology.node(topology.monitoring.node).host == host:
        folders[MONITORING] = monitoring_files.render(topology, topology.monitoring)
    if topology.access:
        folders[GATE] = gate_files(topology, keys, topology.access)
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for folder, files in folders.items():
            for name, text in with_checksums(files).items():
                _add(tar, f"{folder}/{name}", text.encode())
    return b64encode(buffer.getvalue()).decode()


def _add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), 0o600
    tar.addfile(entry, io.BytesIO(content))


def _environment(topology: Topology, node: Node) -> str:
    values = {
        "NODE": node.name,
        "ADDRESS": f"{node.address}/32",
        "MTU": topology.mtu,
        "MESH_RANGES": f'"{" ".join(map(str, topology.mesh_ranges))}"',
        "SITE_RANGE": node.site,
        "SITE_GATEWAY": f"{node.gateway}/{node.site.prefixlen}",
        "UNDERLAY_GATEWAY": topology.underlay_gateway,
        "DOMAIN": topology.domain,
    }
    routes = [
        f"{range_}:{mtu}"
        for peer in topology.peers_of(node)
        for end in topology.behind(node, peer)
        if (mtu := topology.path_mtu(node, end)) < topology.mtu or topology.link(node, end)
        for range_ in (end.address, end.site)
    ]
    if routes:
        values["LINK_ROUTES"] = f'"{" ".join(routes)}"'
    if topology.access and topology.admits_members(node):
        values["MEMBER_RANGE"] = topology.access.member_range
    return "".join(f"{key}={value}\n" for key, value in values.items())
