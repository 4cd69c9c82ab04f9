"""Packets on a bridge of this machine, as they are (packet(7))."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ALL_PROTOCOLS = 0x0003
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}
ETHERNET = 14
SOL_PACKET, ADD_MEMBERSHIP, PROMISCUOUS = 263, 1, 1  # linux/if_packet.h


@dataclass(frozen=True)
class Frame:
    """One IPv4 packet."""

    source: str
    target: str
    protocol: str
    target_port: int
    payload: bytes


@contextmanager
def capture(interface: str) -> Iterator[list[Frame]]:
    """Collect the IPv4 packets of an interface while the block runs."""
    frames: list[Frame] = []
    done = threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)) as tap:
        tap.bind((interface, 0))
        # A bridge passes up what is between two of its ports only when it listens to everything.
        everything = struct.pack("IHH8s", socket.if_nametoindex(interface), PROMISCUOUS, 0, b"")
        tap.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, everything)
        tap.settimeout(0.2)
        thread = threading.Thread(target=_collect, args=(tap, frames, done))
        thread.start()
        try:
            yield frames
        finally:
            done.set()
            thread.join()


def _collect(tap: socket.socket, frames: list[Frame], done: threading.Event) -> None:
    while not done.is_set():
        try:
            data = tap.recv(65535)
        except TimeoutError:
            continue
        if data[12:14] == b"\x08\x00":
            frames.append(_parse(data[ETHERNET:]))


def _parse(packet: bytes) -> Frame:
    header = (packet[0] & 15) * 4
    protocol = PROTOCOLS.get(packet[9], str(packet[9]))
    port = struct.unpack("!H", packet[header + 2 : header + 4])[0] if protocol in {"tcp", "udp"} else 0
    return Frame(socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), protocol, port, packet[header:])
