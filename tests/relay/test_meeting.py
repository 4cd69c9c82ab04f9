"""Two that nobody reaches meet at the relays of others, which let in nobody else, and may fail one by one."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import replace

import pytest
from udp_over_tcp import meeting, meeting_place
from udp_over_tcp.frames import Stream, joined
from udp_over_tcp.meeting import HELLO, name_of, proof
from udp_over_tcp.meeting_place import NONCE
from udp_over_tcp.relay import Relay
from udp_over_tcp.settings import Incoming, Meeting, Place, Way

from tests.relay.links import HOST, Udp, ends, free, incoming, read, until

KEYS = (b"1" * 32, b"2" * 32)
PACKET = bytes(range(148))


class Story:
    """Both ends, and two relays where they may meet."""

    def __init__(self, undo: AsyncExitStack) -> None:
        self.undo = undo
        self.devices = (Udp(), Udp())
        self.behind = Udp()  # who is behind the relays for those who do not meet there
        for udp in (*self.devices, self.behind):
            undo.enter_context(closing(udp.socket))
        self.relays = (Relay(), Relay())
        self.doors = (incoming(self.behind.address), incoming(self.behind.address))
        self.sides = (Relay(), Relay())
        ways = tuple(Way(name=f"r{at}", forward=self.doors[at].listen, tls=None, key=KEYS[at]) for at in (0, 1))
        self.meetings = [
            Meeting(listen=free(socket.SOCK_DGRAM), peer=device.address, side=side, ways=ways)
            for side, device in enumerate(self.devices)
        ]
        for device, settings in zip(self.devices, self.meetings, strict=True):
            device.to = settings.listen

    async def opens(self, at: int) -> None:
        await self.relays[at].have([self.doors[at], Place(key=KEYS[at])])
        self.undo.push_async_callback(self.relays[at].close)

    async def joins(self, side: int, settings: Meeting | None = None) -> None:
        await self.sides[side].have([settings or self.meetings[side]])
        self.undo.push_async_callback(self.sides[side].close)

    def state(self, side: int) -> str:
        (state,) = self.sides[side].states().values()
        return state

    async def speak(self) -> None:
        """Something each way."""
        one, other = self.devices
        for sender, receiver in ((one, other), (other, one)):
            sent = PACKET + os.urandom(4)
            await sender.send(sent)
            assert await receiver.receive() == sent
            sender.to, receiver.to = (self.meetings[self.devices.index(udp)].listen for udp in (sender, receiver))


def told(story: Callable[[Story], Awaitable[None]]) -> None:
    async def run() -> None:
        async with AsyncExitStack() as undo:
            await story(Story(undo))

    asyncio.run(run())


BOTH = "r0: there, r1: there"


def test_two_meet_and_hear_each_other() -> None:
    async def story(one: Story) -> None:
        for at in (0, 1):
            await one.opens(at)
            await one.joins(at)
        await until(lambda: [one.state(0), one.state(1)] == [BOTH, BOTH])
        await one.speak()

    told(story)


def test_batches_cross_whole_and_in_order() -> None:
    async def story(one: Story) -> None:
        await one.opens(0)
        for side in (0, 1):
            await one.joins(side)
        await until(lambda: one.state(0).startswith("r0: there"))
        for start in range(0, 1000, 50):
            for number in range(start, start + 50):
                await one.devices[0].send(number.to_bytes(4) * (8 + number % 300))
            for number in range(start, start + 50):
                assert await one.devices[1].receive() == number.to_bytes(4) * (8 + number % 300)

    told(story)


def test_when_a_relay_ends_the_other_carries_on_and_then_it_is_taken_up_again() -> None:
    async def story(one: Story) -> None:
        for at in (0, 1):
            await one.opens(at)
            await one.joins(at)
        await until(lambda: [one.state(0), one.state(1)] == [BOTH, BOTH])
        await one.relays[0].close()
        await until(lambda: [one.state(0), one.state(1)] == ["r0: not there, r1: there"] * 2)
        await one.speak()
        await one.opens(0)
        await until(lambda: [one.state(0), one.state(1)] == [BOTH, BOTH])
        await one.relays[1].close()
        await one.speak()

    told(story)


def test_each_end_may_send_by_another_relay() -> None:
    async def story(one: Story) -> None:
        for at in (0, 1):
            await one.opens(at)
        await one.joins(0)
        swapped = replace(one.meetings[1], ways=one.meetings[1].ways[::-1])
        await one.joins(1, swapped)
        await until(lambda: one.state(0) == BOTH and one.state(1) == "r1: there, r0: there")
        await one.speak()

    told(story)


def test_a_relay_that_falls_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "SILENCE", 0.5)
    monkeypatch.setattr(meeting, "BEAT", 0.1)

    async def story(one: Story) -> None:
        for at in (0, 1):
            await one.opens(at)
            await one.joins(at)
        await until(lambda: [one.state(0), one.state(1)] == [BOTH, BOTH])
        monkeypatch.setattr(meeting_place.MeetingPlace, "_hand_on", lambda *_: None)
        await until(lambda: "r0: not there" in one.state(0))

    told(story)


def test_when_the_other_leaves_one_is_told() -> None:
    async def story(one: Story) -> None:
        await one.opens(0)
        for side in (0, 1):
            await one.joins(side)
        await until(lambda: one.state(0).startswith("r0: there"))
        await one.sides[1].close()
        await until(lambda: one.state(0).startswith("r0: not there"))

    told(story)


def test_nobody_else_at_the_node_is_heard() -> None:
    async def story(one: Story) -> None:
        await one.opens(0)
        for side in (0, 1):
            await one.joins(side)
        await until(lambda: one.state(0).startswith("r0: there"))
        stranger = Udp(one.meetings[0].listen)
        with closing(stranger.socket):
            await stranger.send(PACKET)
            assert await one.devices[1].is_silent()
        await one.speak()

    told(story)


# --- who else comes


async def visitor(door: Incoming) -> socket.socket:
    tcp = socket.socket()
    tcp.settimeout(0)
    await asyncio.get_running_loop().sock_connect(tcp, door.listen)
    return tcp


async def say(tcp: socket.socket, datagram: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(tcp, joined([datagram]))


async def nonce_of(tcp: socket.socket, name: bytes, side: bytes = b"\0") -> bytes:
    await say(tcp, HELLO + name + side)
    return (await read(tcp, 2 + NONCE))[2:]


def test_without_the_key_nobody_gets_in_or_puts_another_out() -> None:
    async def story(one: Story) -> None:
        await one.opens(0)
        for side in (0, 1):
            await one.joins(side)
        await until(lambda: one.state(0).startswith("r0: there"))
        with closing(await visitor(one.doors[0])) as tcp:
            nonce = await nonce_of(tcp, name_of(KEYS[0]))
            await say(tcp, proof(KEYS[1], nonce, b"\0"))
            assert await ends(tcp)
        await one.speak()

    told(story)


@pytest.mark.parametrize("side", [b"\2", b"0", b""])
def test_there_are_two_sides(side: bytes) -> None:
    async def story(one: Story) -> None:
        await one.opens(0)
        with closing(await visitor(one.doors[0])) as tcp:
            await say(tcp, HELLO + name_of(KEYS[0]) + side)
            if side:
                nonce = (await read(tcp, 2 + NONCE))[2:]
                await say(tcp, proof(KEYS[0], nonce, side))
            assert await ends(tcp)

    told(story)


def test_a_proof_is_good_once_and_for_one_side() -> None:
    async def story(one: Story) -> None:
        await one.opens(0)
        with closing(await visitor(one.doors[0])) as tcp:
            first = proof(KEYS[0], await nonce_of(tcp, name_of(KEYS[0])), b"\0")
            await say(tcp, first)
            assert await read(tcp, 3) == joined([b"-"]), "seated, and alone"
        with closing(await visitor(one.doors[0])) as tcp:
            await nonce_of(tcp, name_of(KEYS[0]))
            await say(tcp, first)
            assert await ends(tcp)
        with closing(await visitor(one.doors[0])) as tcp:
            other = proof(KEYS[0], await nonce_of(tcp, name_of(KEYS[0]), b"\1"), b"\0")
            await say(tcp, other)
            assert await ends(tcp)

    told(story)


def test_a_meeting_that_is_not_there_is_refused() -> None:
    async def story(one: Story) -> None:
        await one.opens(0)
        with closing(await visitor(one.doors[0])) as tcp:
            await say(tcp, HELLO + name_of(b"3" * 32) + b"\0")
            assert await ends(tcp)

    told(story)


def test_who_says_hello_and_nothing_more_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "SILENCE", 0.2)

    async def story(one: Story) -> None:
        await one.opens(0)
        with closing(await visitor(one.doors[0])) as tcp:
            await nonce_of(tcp, name_of(KEYS[0]))
            assert await ends(tcp)

    told(story)


def test_who_has_not_proved_anything_counts_as_a_connection_and_is_not_kept_by_dribbling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meeting, "SILENCE", 0.5)

    async def story(one: Story) -> None:
        await one.opens(0)
        loop = asyncio.get_running_loop()
        visitors = [await visitor(one.doors[0]) for _ in range(one.doors[0].connections_of_one)]
        for tcp in visitors:
            await nonce_of(tcp, name_of(KEYS[0]))
        with closing(await visitor(one.doors[0])) as more:
            assert await ends(more)
        closed = [loop.create_task(ends(tcp)) for tcp in visitors]
        while not all(task.done() for task in closed):
            for tcp in visitors:
                with suppress(OSError):
                    await loop.sock_sendall(tcp, b"\xff")
            await asyncio.sleep(0.1)
        for tcp in visitors:
            tcp.close()

    async def bounded(one: Story) -> None:
        async with asyncio.timeout(5):
            await story(one)

    told(bounded)


def test_beside_meetings_the_port_serves_those_who_want_the_node_itself() -> None:
    async def story(one: Story) -> None:
        await one.opens(0)
        with closing(await visitor(one.doors[0])) as tcp:
            await say(tcp, PACKET)
            assert await one.behind.receive() == PACKET
            await one.behind.send(PACKET[::-1])
            assert await read(tcp, 2 + len(PACKET)) == joined([PACKET[::-1]])

    told(story)


def test_no_key_is_shown() -> None:
    way = Way(name="r", forward=(HOST, 1), tls=None, key=KEYS[0])
    assert "1111" not in f"{way!r} {Place(key=KEYS[0])!r}"


def test_joined_frames_are_read_back() -> None:
    stream = Stream(bytearray(1 << 17))
    datagrams = [b"abc", b"defg", b"h", b"ijklmnop"]
    content = joined(datagrams)
    stream.space()[: len(content)] = content
    assert [bytes(one) for batch in stream.datagrams(len(content)) for one in batch] == datagrams
