"""Everything the nodes of a Docker host read, as files and as one reproducible archive."""

import gzip
import io
import tarfile
from base64 import b64encode
from hashlib import sha256

from vpn.model import firewall, names, wgconf
from vpn.model.keys import KeyRing
from vpn.model.topology import Node, Topology

CHECKSUMS = "SHA256SUMS"


def node_files(topology: Topology, keys: KeyRing, node: Node) -> dict[str, str]:
    """The config folder of one node: name -> text. The checksums come last and name the generation of the whole."""
    files = {
        "hosts": names.render(topology),
        "nftables.nft": firewall.render(topology, node),
        "node.env": _environment(topology, node),
        "wg0.conf": wgconf.render(topology, keys, node),
    }
    sums = "".join(f"{sha256(text.encode()).hexdigest()}  {name}\n" for name, text in files.items())
    return {**files, CHECKSUMS: sums}


def archive(topology: Topology, keys: KeyRing) -> str:
    """Base64 of a tar.gz with a folder for every node; equal input gives equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for node in topology.nodes:
            for name, text in node_files(topology, keys, node).items():
                _add(tar, f"{node.name}/{name}", text.encode())
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
        "MESH_RANGES": f'"{topology.vpn_range} {topology.site_range}"',
        "SITE_RANGE": node.site,
        "SITE_GATEWAY": f"{node.gateway}/{node.site.prefixlen}",
        "UNDERLAY_GATEWAY": topology.underlay_gateway,
        "DOMAIN": topology.domain,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())
