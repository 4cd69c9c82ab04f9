"""UDP sockets that receive and send many datagrams with one system call."""

import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

SOL_UDP = 17
UDP_SEGMENT, UDP_GRO = 103, 104  # linux/udp.h
BATCH = 1 << 16  # bytes; the kernel merges no more
MOST_SEGMENTS = 64  # UDP_MAX_SEGMENTS of Linux before 6.9
MOST_BYTES = 65_493  # of one send: with headers below 64 KiB, else the kernel cuts it up at once
NUMBER = struct.Struct("i")
SEGMENT = struct.Struct("H")
BUFFER = 4 << 20  # bytes; the kernel gives what its own bound allows
UNSENDABLE = (errno.EINVAL, errno.EIO, errno.EMSGSIZE)  # too long for one packet, or a device that cannot segment

Address = tuple[str, int]


class Batch(NamedTuple):
    """Datagrams that came in one go."""

    length: int
    """Bytes in all."""
    size: int
    """Bytes of each but the last, which may be shorter."""
    source: Address


def opened(family: int = socket.AF_INET) -> socket.socket:
    """A UDP socket that hands over datagrams in batches where the kernel can."""
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        udp.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    with suppress(OSError):
        udp.setsockopt(SOL_UDP, UDP_GRO, 1)
    return udp


def batches(udp: socket.socket, buffer: bytearray, most: int) -> Iterator[Batch]:
    """What there is now, at most so many batches; each is in the buffer, of BATCH bytes or more, until the next."""
    for _ in range(most):
        try:
            batch = _receive(udp, buffer)
        except BlockingIOError:
            return
        except OSError:  # ICMP says that nobody was there for a datagram sent before; somebody may be there yet
            continue
        if batch:
            yield batch


def _receive(udp: socket.socket, buffer: bytearray) -> Batch | None:
    length, ancillary, flags, source = udp.recvmsg_into([buffer], socket.CMSG_SPACE(NUMBER.size))
    if flags & socket.MSG_TRUNC:
        return None
    size = length
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_UDP, UDP_GRO):
            (size,) = NUMBER.unpack(data[: NUMBER.size])
    return Batch(length, size, source)


def send(udp: socket.socket, batch: Sequence[memoryview], to: Address | None) -> int:
    """Send datagrams, all of a size but the last, which may be shorter; how many were lost.

    They go to where the socket is connected if to nowhere else.

    UDP may lose datagrams: what the kernel does not take now is lost, for waiting would delay what comes after.
    """
    size = len(batch[0])
    step = max(1, min(MOST_SEGMENTS, MOST_BYTES // size)) if size else 1
    lost = 0
    for start in range(0, len(batch), step):
        lost += _send(udp, batch[start : start + step], size, to)
    return lost


def _send(udp: socket.socket, part: Sequence[memoryview], size: int, to: Address | None) -> int:
    control = [(SOL_UDP, UDP_SEGMENT, SEGMENT.pack(size))] if len(part) > 1 else []
    try:
        udp.sendmsg(part, control, 0, to) if to else udp.sendmsg(part, control)
    except OSError as error:
        if control and error.errno in UNSENDABLE:
            return sum(_send(udp, [one], size, to) for one in part)
        return len(part)
    return 0
