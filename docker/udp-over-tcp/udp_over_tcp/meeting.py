"""Two that nobody reaches meet at the relay of a third, which hands on what it cannot read.

Either connects there and names the meeting; proves, on a number drawn for it, that it has the meeting's key; and from
then on what one sends comes to the other. Several such relays are held ready: each end sends by the first that has the
other at hand, and takes what comes by any.

On the connection, beside the datagrams, which are never that short, frames of one byte: the relay tells whether the
other is there, and either end that it lives.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from udp_over_tcp.frames import Datagram

HELLO = b"dstack-vpn meeting 1 "  # and the name
NAME = 16  # bytes
SIDES = (b"\0", b"\1")
THERE, AWAY, ALIVE = b"+", b"-", b"."
BEAT = 2  # seconds between two signs of life
SILENCE = 6  # seconds without one: dead; 1 % of loss may delay one for long


def name_of(key: bytes) -> bytes:
    """What a meeting is called on the wire, which tells nothing of who meets."""
    return sha256(b"name" + key).digest()[:NAME]


def proof(key: bytes, nonce: bytes, side: bytes) -> bytes:
    """What only a side that has the key can say (HMAC: RFC 2104)."""
    return hmac.digest(key, HELLO + nonce + side, "sha256")


def is_hello(datagram: Datagram) -> bool:
    """Whether it begins a meeting; no datagram of WireGuard looks like that."""
    return bytes(datagram[: len(HELLO)]) == HELLO


def split(batch: Sequence[Datagram]) -> tuple[Sequence[Datagram], list[bytes]]:
    """Datagrams and signals; only the last, which may be shorter, or all of a batch are signals."""
    if len(batch[-1]) > 1:
        return batch, []
    signals = [bytes(one) for one in batch if len(one) <= 1]
    return [one for one in batch if len(one) > 1], signals
