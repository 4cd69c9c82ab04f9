"""What tells Prometheus of a node, alone in a container: with as many peers as wanted, of which half answer."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from docker.models.containers import Container

import docker
from vpn.model.privileges import NODE_CAPABILITIES, NODE_SYSCTLS

# Addresses of its own answer; the others lead to an interface behind which there is nobody. A pause of a second between
# two looks is the shortest there is.
START = r"""
set -eu
mkdir -p /run/wireguard/config && cd /run/wireguard
echo kernel >dataplane && echo ok >state && touch config/node.env config/SHA256SUMS
ip link add wg0 type wireguard 2>/dev/null || wireguard-go wg0 2>/dev/null
wg genkey >key && wg set wg0 private-key key && ip address add 10.0.1.1/24 dev wg0 && ip link set wg0 up
echo "10.0.1.1:9586 none 1" >list
for one in $(seq 1 "$1"); do
    key=$(wg genkey | wg pubkey)
    half=$((one % 2))
    address=10.0.$half.$((one + 1))
    [ $half = 1 ] || ip address add $address dev lo
    wg set wg0 peer "$key" allowed-ips $address/32 endpoint 127.0.0.1:$((2000 + one))
    echo "peer-$one $address $key" >>list
done
mv list config/metrics
exec metrics
"""


@contextmanager
def exporter(client: docker.DockerClient, image: str, name: str, peers: int) -> Iterator[Container]:
    """It runs, and what it tells is in /run/metrics/metrics.txt; gone afterwards."""
    container = client.containers.run(
        image,
        ["sh", "-c", START, "sh", str(peers)],
        name=name,
        detach=True,
        network_mode="none",
        cap_drop=["ALL"],
        cap_add=list(NODE_CAPABILITIES),
        sysctls=NODE_SYSCTLS,
        security_opt=["no-new-privileges"],
        devices=["/dev/net/tun:/dev/net/tun:rwm"],
        tmpfs={"/run": ""},
    )
    try:
        yield container
    finally:
        container.remove(force=True)


def peak(process: int, seconds: float) -> int:
    """Most memory, in bytes, of a process and all that it starts, seen within some time (proc(5), Pss)."""
    most, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        most = max(most, sum(map(_memory, _family(process))))
    return most


def _family(process: int) -> Iterable[int]:
    yield process
    for child in _read(f"/proc/{process}/task/{process}/children").split():
        yield from _family(int(child))


def _memory(process: int) -> int:
    if _read(f"/proc/{process}/comm") == "wireguard-go\n":
        return 0  # what carries the tunnels tells nothing
    lines = (line.split() for line in _read(f"/proc/{process}/smaps_rollup").splitlines())
    return sum(int(fields[1]) * 1024 for fields in lines if fields[0] == "Pss:")


def _read(path: str) -> str:
    """Empty when the process has ended."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
