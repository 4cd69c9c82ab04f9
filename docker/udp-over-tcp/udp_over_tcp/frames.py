"""The wire format: from datagrams to a stream of bytes and back."""

from collections.abc import Iterator, Sequence

HEADER = 2  # bytes
LONGEST = 0xFFFF  # bytes of a datagram that a header can tell
Datagram = memoryview


def framed(batch: memoryview, size: int) -> bytes:
    """The stream's bytes of a batch of datagrams: all of a size in bytes but the last, which may be shorter."""
    if len(batch) <= size:
        return b"".join((len(batch).to_bytes(HEADER), batch))
    header = size.to_bytes(HEADER)
    whole = len(batch) - len(batch) % size
    parts: list[bytes | memoryview] = []
    for start in range(0, whole, size):
        parts += (header, batch[start : start + size])
    if whole < len(batch):
        parts += ((len(batch) - whole).to_bytes(HEADER), batch[whole:])
    return b"".join(parts)


def joined(batch: Sequence[Datagram | bytes]) -> bytes:
    """The stream's bytes of datagrams from several places."""
    return b"".join(part for one in batch for part in (len(one).to_bytes(HEADER), one))


class Stream:
    """Bytes as they arrive, and the whole datagrams in them. What a broken stream leaves is no datagram."""

    def __init__(self, buffer: bytearray) -> None:
        """Share a buffer with other streams: it is this one's only between `fill` and the end of `datagrams`."""
        self._buffer = memoryview(buffer)
        self._rest = b""

    def space(self) -> memoryview:
        """Where the next bytes go; there is room for more than a datagram."""
        self._buffer[: len(self._rest)] = self._rest
        return self._buffer[len(self._rest) :]

    def datagrams(self, count: int) -> Iterator[list[Datagram]]:
        """The datagrams, now that so many bytes were put into `space`; what is incomplete is kept for the next time.

        In batches: all of a size but the last, which may be shorter; an empty one comes alone.
        """
        buffer, end, start = self._buffer, len(self._rest) + count, 0
        batch: list[Datagram] = []
        while start + HEADER <= end:
            length = buffer[start] << 8 | buffer[start + 1]
            following = start + HEADER + length
            if following > end:
                break
            if batch and (length > len(batch[0]) or not length):
                yield batch
                batch = []
            batch.append(buffer[start + HEADER : following])
            if length < len(batch[0]) or not length:
                yield batch
                batch = []
            start = following
        if batch:
            yield batch
        self._rest = bytes(buffer[start:end])
