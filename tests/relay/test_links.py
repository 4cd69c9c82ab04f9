"""Links on the loopback interface: what ends Mullvad's tools does not end these."""

import asyncio
import errno
import random
import socket
from contextlib import closing
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from udp_over_tcp import connection, datagrams
from udp_over_tcp import incoming as incoming_module
from udp_over_tcp.echo import EchoPort
from udp_over_tcp.intake import Intake
from udp_over_tcp.outgoing import OutgoingLink
from udp_over_tcp.settings import Echo, Tls

from tests.relay.links import (
    HOST,
    SECONDS,
    Udp,
    accepted,
    both,
    ends,
    free,
    incoming,
    opened,
    outgoing,
    read,
    running,
    server,
    until,
)
from tests.tls_gateway import Certificate, Gateway, certified


def test_datagrams_of_every_length_cross_both_ways() -> None:
    async def story() -> None:
        async with both() as (first, last):
            for length in (0, 1, 2, 148, 1420, 1500, 9000, datagrams.MOST_BYTES):
                sent = bytes(number % 251 for number in range(length))
                await first.send(sent)
                assert await last.receive() == sent
                await last.send(sent[::-1])
                assert await first.receive() == sent[::-1]

    asyncio.run(story())


def test_many_datagrams_arrive_whole_and_in_order() -> None:
    async def story() -> None:
        async with both() as (first, last):
            for start in range(0, 2000, 50):
                for number in range(start, start + 50):
                    await first.send(number.to_bytes(4) * (1 + number % 300))
                for number in range(start, start + 50):
                    assert await last.receive() == number.to_bytes(4) * (1 + number % 300)

    asyncio.run(story())


def test_what_is_sent_before_there_is_a_connection_is_not_lost() -> None:
    async def story() -> None:
        last = Udp()
        arriving = incoming(last.address)
        leaving = outgoing(arriving.listen)
        first = Udp(leaving.listen)
        with closing(first.socket), closing(last.socket):
            async with running(leaving):
                await first.send(b"hello")
                await asyncio.sleep(0.3)  # it fails to connect meanwhile
                async with running(arriving):
                    assert await last.receive() == b"hello"

    asyncio.run(story())


def test_nothing_connects_before_there_is_something_to_carry() -> None:
    async def story() -> None:
        with closing(server()) as listening:
            async with running(outgoing(listening.getsockname())) as link:
                assert link.state == "waits for a datagram"
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await asyncio.get_running_loop().sock_accept(listening)

    asyncio.run(story())


def test_who_is_known_hears_from_the_other_end_before_it_has_spoken() -> None:
    async def story() -> None:
        with closing(server()) as listening:
            first = Udp()
            with closing(first.socket):
                async with running(outgoing(listening.getsockname(), peer=first.address)):
                    for word in (b"one", b"two"):
                        tcp = await accepted(listening)
                        tcp.send(b"\0\3" + word)
                        assert await first.receive() == word
                        tcp.close()

    asyncio.run(story())


# --- what comes over TCP


def test_a_frame_that_was_cut_off_is_no_datagram() -> None:
    async def story() -> None:
        with closing(server()) as listening:
            leaving = outgoing(listening.getsockname())
            first = Udp(leaving.listen)
            with closing(first.socket):
                async with running(leaving):
                    await first.send(b"x")
                    tcp = await accepted(listening)
                    tcp.send(b"\0\5whole\0\5par")
                    tcp.close()
                    assert await first.receive() == b"whole"
                    assert await first.is_silent()
                    await first.send(b"y")
                    again = await accepted(listening)
                    assert await read(again, 3) == b"\0\1y"
                    again.send(b"\0\4next")
                    assert await first.receive() == b"next"
                    again.close()

    asyncio.run(story())


def test_a_length_that_no_datagram_can_have_is_left_out_and_what_follows_arrives() -> None:
    async def story() -> None:
        last = Udp()
        arriving = incoming(last.address)
        with closing(last.socket):
            async with running(arriving):
                _, writer = await asyncio.open_connection(*arriving.listen)
                writer.write(b"\xff\xff" + bytes(0xFFFF) + b"\0\2ok")
                assert await last.receive() == b"ok"
                writer.close()

    asyncio.run(story())


def test_a_reader_that_is_slow_gets_whole_datagrams_and_not_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNSENT", 1 << 14)

    async def story() -> None:
        listening = server()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        leaving = outgoing(listening.getsockname())
        first = Udp(leaving.listen)
        with closing(listening), closing(first.socket):
            async with running(leaving):
                await first.send(b"x")
                tcp = await accepted(listening)
                for number in range(20_000):
                    await first.send(number.to_bytes(4) * 250)
                    if number % 20 == 0:
                        await asyncio.sleep(0)
                await asyncio.sleep(0.2)  # all that the kernel did not drop is read
                await first.send((20_000).to_bytes(4) * 250)
                assert await read(tcp, 3) == b"\0\1x"
                numbers: list[int] = []
                while not numbers or numbers[-1] != 20_000:
                    frame = await read(tcp, 1002)
                    assert frame[:2] == b"\x03\xe8"
                    numbers.append(int.from_bytes(frame[2:6]))
                    assert frame[2:] == frame[2:6] * 250
                assert numbers == sorted(set(numbers))
                assert len(numbers) < 15_000, "some gave way"
                tcp.close()

    asyncio.run(story())


# --- what ends a connection, and what does not


def test_a_reset_is_followed_by_another_connection() -> None:
    async def story() -> None:
        with closing(server()) as listening:
            leaving = outgoing(listening.getsockname())
            first = Udp(leaving.listen)
            with closing(first.socket):
                async with running(leaving):
                    await first.send(b"x")
                    for _ in range(3):
                        tcp = await accepted(listening)
                        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        tcp.close()
                    tcp = await accepted(listening)
                    tcp.send(b"\0\2ok")
                    assert await first.receive() == b"ok"
                    tcp.close()

    asyncio.run(story())


def test_a_server_that_is_not_there_yet_is_tried_again_at_growing_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[tuple[float, float]] = []

    def soon(low: float, high: float) -> float:
        pauses.append((low, high))
        return 0.01

    monkeypatch.setattr(random, "uniform", soon)

    async def story() -> None:
        leaving = outgoing(free(socket.SOCK_STREAM))
        first = Udp(leaving.listen)
        with closing(first.socket):
            async with running(leaving):
                await first.send(b"x")
                await until(lambda: len(pauses) >= 8)

    asyncio.run(story())
    assert [high for _, high in pauses[:8]] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert all(low == high / 2 for low, high in pauses)


def test_wireguard_that_is_not_there_yet_ends_nothing() -> None:
    async def story() -> None:
        place = free(socket.SOCK_DGRAM)
        arriving = incoming(place)
        leaving = outgoing(arriving.listen)
        first = Udp(leaving.listen)
        with closing(first.socket):
            async with running(arriving) as link, running(leaving):
                for _ in range(5):
                    await first.send(b"too early")
                    await asyncio.sleep(0.02)
                await until(lambda: link.state == "1 connections")
                last = Udp()
                last.socket.close()
                last.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                last.socket.bind(place)
                last.socket.settimeout(0)
                with closing(last.socket):
                    await first.send(b"now")
                    assert await last.receive() == b"now"
                    await last.send(b"answer")
                    assert await first.receive() == b"answer"
                assert link.state == "1 connections"

    asyncio.run(story())


def test_who_connects_from_where_a_link_leads_is_that_link() -> None:
    async def story() -> None:
        with closing(server()) as listening:
            first = Udp()
            leaving = outgoing(listening.getsockname(), peer=first.address)
            arriving = incoming(first.address)
            with closing(first.socket):
                async with running(leaving) as link:
                    assert isinstance(link, OutgoingLink)
                    with closing(await accepted(listening)):
                        door = opened(arriving, link)
                        reader, writer = await asyncio.open_connection(*arriving.listen)
                        for word in (b"one", b"two", b"six"):
                            writer.write(b"\0\3" + word)
                            assert await first.receive() == word
                            assert first.to == leaving.listen
                            await first.send(b"back")
                            assert await asyncio.wait_for(reader.readexactly(6), SECONDS) == b"\0\4back"
                        assert door.state == "0 connections"
                        await door.close()
                    writer.close()

    asyncio.run(story())


def test_who_reconnects_is_the_same_peer_to_wireguard_and_can_be_spoken_to_first() -> None:
    async def story() -> None:
        last = Udp()
        arriving = incoming(last.address)
        with closing(last.socket):
            async with running(arriving) as link:
                _, writer = await asyncio.open_connection(*arriving.listen)
                writer.write(b"\0\1a")
                assert await last.receive() == b"a"
                before = last.to
                writer.transport.abort()
                await until(lambda: link.state == "0 connections")
                reader, writer = await asyncio.open_connection(*arriving.listen)
                await asyncio.sleep(0.1)
                await last.send(b"first")
                assert await asyncio.wait_for(reader.readexactly(7), SECONDS) == b"\0\5first"
                writer.write(b"\0\1b")
                assert await last.receive() == b"b"
                assert last.to == before
                writer.close()

    asyncio.run(story())


def test_somebody_who_does_not_come_back_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming_module, "MEMORY", 0.1)

    async def story() -> None:
        last = Udp()
        arriving = incoming(last.address)
        with closing(last.socket):
            async with running(arriving) as link:
                _, writer = await asyncio.open_connection(*arriving.listen)
                writer.close()
                await until(lambda: not link._callers)  # type: ignore[union-attr] # noqa: SLF001 (no other sign of it)

    asyncio.run(story())


@pytest.mark.parametrize("end", ["outgoing", "incoming"])
def test_a_connection_on_which_nothing_comes_is_given_up(end: str) -> None:
    async def story() -> None:
        with closing(Udp().socket) as nobody, closing(server()) as listening:
            if end == "incoming":
                settings = incoming(nobody.getsockname(), idle=0.2)
                async with running(settings):
                    tcp = socket.create_connection(settings.listen)
                    tcp.settimeout(0)
                    assert await ends(tcp)
                    tcp.close()
            else:
                leaving = outgoing(listening.getsockname(), idle=0.2)
                async with running(leaving):
                    first = Udp(leaving.listen)
                    await first.send(b"x")
                    tcp = await accepted(listening)
                    await read(tcp, 3)
                    assert await ends(tcp)
                    (await accepted(listening)).close()
                    tcp.close()
                    first.socket.close()

    asyncio.run(story())


# --- who may


def test_sources_and_bounds() -> None:
    async def story() -> None:
        last = Udp()
        arriving = incoming(last.address, connections=3, connections_of_one=2)
        with closing(last.socket):
            async with running(arriving) as link:
                tcps = [await asyncio.open_connection(*arriving.listen) for _ in range(3)]
                assert await asyncio.wait_for(tcps[2][0].read(1), SECONDS) == b""
                assert link.state == "2 connections"
                other = await asyncio.open_connection(*arriving.listen, local_addr=("127.0.0.2", 0))
                await until(lambda: link.state == "3 connections")
                third = await asyncio.open_connection(*arriving.listen, local_addr=("127.0.0.3", 0))
                assert await asyncio.wait_for(third[0].read(1), SECONDS) == b""
                for _, writer in (*tcps, other, third):
                    writer.close()

    asyncio.run(story())


def test_a_stranger_is_not_carried() -> None:
    async def story() -> None:
        last = Udp()
        only = (IPv4Network("127.0.0.7/32"),)
        arriving = incoming(last.address, sources=only)
        leaving = outgoing(arriving.listen, sources=only)
        first = Udp(leaving.listen)
        with closing(last.socket), closing(first.socket):
            async with running(arriving), running(leaving) as link:
                reader, writer = await asyncio.open_connection(*arriving.listen)
                assert await asyncio.wait_for(reader.read(1), SECONDS) == b""
                writer.close()
                await first.send(b"x")
                assert await last.is_silent()
                assert link.state == "waits for a datagram"

    asyncio.run(story())


def test_thousands_of_connects_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming_module, "MEMORY", 0.05)

    async def story() -> None:
        last = Udp()
        arriving = incoming(last.address)
        with closing(last.socket):
            async with running(arriving) as link:
                before = open_files()
                for _ in range(3000):
                    _, writer = await asyncio.open_connection(*arriving.listen)
                    writer.transport.abort()
                await until(lambda: open_files() <= before)
                assert link.state == "0 connections"
                reader, writer = await asyncio.open_connection(*arriving.listen)
                writer.write(b"\0\1a")
                assert await last.receive() == b"a"
                await last.send(b"b")
                assert await asyncio.wait_for(reader.readexactly(3), SECONDS) == b"\0\1b"
                writer.close()

    asyncio.run(story())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_more_file_descriptors_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming_module, "PAUSE", 0.1)

    async def story() -> None:
        last = Udp()
        arriving = incoming(last.address)
        with closing(last.socket):
            async with running(arriving) as link:
                listener = link._listener  # type: ignore[union-attr] # noqa: SLF001
                full = OSError(errno.EMFILE, "Too many open files")
                accept = listener.accept
                answers = [full, full]

                class Full:
                    def __getattr__(self, name: str) -> object:
                        return getattr(listener, name)

                    def accept(self) -> object:
                        if answers:
                            raise answers.pop()
                        return accept()

                link._listener = Full()  # type: ignore[union-attr] # noqa: SLF001
                _, writer = await asyncio.open_connection(*arriving.listen)
                await until(lambda: link.state == "1 connections")
                writer.close()
                link._listener = listener  # type: ignore[union-attr] # noqa: SLF001

    asyncio.run(story())


# --- the question whether UDP gets through


def test_a_short_question_of_a_peer_is_answered_and_nothing_else() -> None:
    async def story() -> None:
        settings = Echo(listen=free(socket.SOCK_DGRAM), sources=(IPv4Network("127.0.0.1/32"),))
        port = EchoPort(settings, Intake())
        asker, stranger = Udp(settings.listen), Udp(settings.listen)
        stranger.socket.close()
        stranger.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stranger.socket.bind(("127.0.0.2", 0))
        stranger.socket.settimeout(0)
        with closing(asker.socket), closing(stranger.socket):
            await asker.send(b"is it you?")
            assert await asker.receive() == b"is it you?"
            await asker.send(b"x" * 17)
            await stranger.send(b"and I?")
            assert await asker.is_silent()
            assert await stranger.is_silent()
            await port.close()

    asyncio.run(story())


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certified(tmp_path_factory.mktemp("tls"), "relay.example")


@pytest.mark.parametrize(
    ("name", "trusted", "carried"),
    [("relay.example", True, True), ("other.example", True, False), ("relay.example", False, False)],
)
def test_tls_is_spoken_with_who_proves_the_name(
    certificate: Certificate, name: str, *, trusted: bool, carried: bool
) -> None:
    asked: list[str | None] = []

    async def story() -> None:
        last = Udp()
        arriving = incoming(last.address)
        gateway = Gateway(certificate=certificate, to=arriving.listen, asked=asked)
        async with running(arriving), await gateway.open(HOST) as front:
            tls = Tls(name=name, authorities=certificate.text if trusted else "")
            leaving = outgoing(front.sockets[0].getsockname(), tls=tls)
            first = Udp(leaving.listen)
            with closing(first.socket), closing(last.socket):
                async with running(leaving):
                    await first.send(b"hello")
                    assert await last.is_silent(0.5) != carried
                    if carried:
                        for number in range(300):
                            await last.send(bytes([number % 256]) * 1400)
                            await first.send(bytes([number % 256]) * 1400)
                        for end in (first, last):
                            assert [(await end.receive())[0] for _ in range(300)] == [one % 256 for one in range(300)]

    asyncio.run(story())
    assert set(asked) == {name}
