"""The wire format, which is Mullvad's: length in two bytes, most significant first, then the datagram."""

import time
from itertools import cycle, groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from udp_over_tcp.connection import Outbox
from udp_over_tcp.frames import LONGEST, Stream, framed

datagrams = st.lists(st.binary(max_size=8) | st.sampled_from([b"x" * 300, b"y" * 1500]), max_size=12)


def stream_of(sent: list[bytes]) -> bytes:
    """Written out as the format says, without the code under test."""
    return b"".join(bytes([len(one) // 256, len(one) % 256]) + one for one in sent)


def received(stream: Stream, chunk: bytes) -> list[bytes]:
    stream.space()[: len(chunk)] = chunk
    return [bytes(one) for batch in stream.datagrams(len(chunk)) for one in batch]


def batches(chunk: bytes) -> list[list[bytes]]:
    stream = Stream(bytearray(1 << 18))
    stream.space()[: len(chunk)] = chunk
    return [[bytes(one) for one in batch] for batch in stream.datagrams(len(chunk))]


# --- golden bytes


@pytest.mark.parametrize(
    ("batch", "size", "expected"),
    [
        (b"", 0, "0000"),
        (b"\xaa", 1, "0001aa"),
        (b"\xaa\xbb\xcc", 1, "0001aa0001bb0001cc"),
        (b"\xaa\xbb\xcc\xdd\xee", 2, "0002aabb0002ccdd0001ee"),
        (b"\xaa\xbb\xcc", 9, "0003aabbcc"),
    ],
)
def test_golden_frames(batch: bytes, size: int, expected: str) -> None:
    assert framed(memoryview(batch), size).hex() == expected
    assert batches(bytes.fromhex(expected)) != [] or not batch


def test_the_longest_datagram() -> None:
    longest = bytes(LONGEST)
    block = framed(memoryview(longest), LONGEST)
    assert block[:2] == b"\xff\xff"
    assert batches(block) == [[longest]]


def test_datagrams_of_one_size_and_a_shorter_last_one_are_a_batch() -> None:
    assert batches(stream_of([b"aa", b"bb", b"c", b"dd", b"eeee", b"", b"f"])) == [
        [b"aa", b"bb", b"c"],
        [b"dd"],
        [b"eeee"],
        [b""],
        [b"f"],
    ]


# --- whatever is sent, however it is cut


@given(st.integers(1, 40), st.integers(0, 200))
def test_a_batch_is_framed_one_by_one(size: int, length: int) -> None:
    batch = bytes(number % 256 for number in range(length))
    assert framed(memoryview(batch), size) == stream_of(
        [batch[at : at + size] for at in range(0, length, size)] or [b""]
    )


@given(datagrams, st.lists(st.integers(1, 2000), min_size=1, max_size=6))
def test_what_was_sent_comes_out_however_the_stream_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    content, stream, found = stream_of(sent), Stream(bytearray(1 << 17)), []
    for cut in cycle(cuts):
        found += received(stream, content[:cut])
        content = content[cut:]
        if not content:
            break
    assert found == sent


@given(datagrams)
def test_a_batch_has_one_size_but_for_a_shorter_last(sent: list[bytes]) -> None:
    for batch in batches(stream_of(sent)):
        assert {len(one) for one in batch[:-1]} <= {len(batch[0])}
        assert len(batch[-1]) <= len(batch[0])
        assert len(batch) == 1 or batch[-1]


@given(st.binary(max_size=400))
def test_any_bytes_are_datagrams_and_a_rest_that_is_none(content: bytes) -> None:
    found = [one for batch in batches(content) for one in batch]
    assert content.startswith(stream_of(found))


def test_streams_that_share_a_buffer_do_not_mix() -> None:
    buffer = bytearray(1 << 17)
    one, other = Stream(buffer), Stream(buffer)
    assert received(one, b"\0\3a") == []
    assert received(other, b"\0\3x") == []
    assert received(one, b"bc") == [b"abc"]
    assert received(other, b"yz") == [b"xyz"]


# --- what waits


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.lists(st.integers(0, 9), min_size=1))
def test_the_oldest_blocks_give_way_and_none_is_cut(lengths: list[int], takes: list[int]) -> None:
    outbox, sent = Outbox(room=20, patience=9), b""
    for number, (length, take) in enumerate(zip(lengths, cycle(takes), strict=False)):
        outbox.put([bytes([number]) * length])
        assert len(outbox) <= 20 + 8, "the bound, and what is left of one that was begun"
        following = b"".join(outbox.following())
        sent += following[:take]
        outbox.took(min(take, len(following)))
    while outbox:
        sent += b"".join(outbox.following())
        outbox.took(len(outbox))
    runs = [(number, len(list(run))) for number, run in groupby(sent)]
    assert runs == sorted(runs)
    assert [length for _, length in runs] == [lengths[number] for number, _ in runs]
    assert len(runs) + outbox.dropped == len(lengths)
    assert runs[-1][0] == len(lengths) - 1


def test_what_waited_too_long_gives_way_to_what_is_new_and_else_stays() -> None:
    outbox = Outbox(room=20, patience=0)
    outbox.put([b"old"])
    assert b"".join(outbox.following()) == b"old", "for there is nothing newer"
    time.sleep(0.001)
    outbox.put([b"new"])
    assert b"".join(outbox.following()) == b"new"
    assert outbox.dropped == 1


def test_what_tls_has_begun_with_comes_next_whatever_waits() -> None:
    outbox = Outbox(room=4, patience=0)
    outbox.put([b"begun"])
    outbox.keep()
    time.sleep(0.001)
    outbox.put([b"newer", b"newest"])
    assert b"".join(outbox.following()).startswith(b"begun")
    outbox.took(len(b"begun"))
    assert b"".join(outbox.following()) == b"newest"
