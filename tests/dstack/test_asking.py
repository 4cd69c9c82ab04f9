"""Asking a keeper through a gateway: who answers may be anybody, and the program goes on."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server

import pytest

from tests.tls_gateway import Certificate, certified
from vpn import keepers
from vpn.components.recipients import Keeper
from vpn.keepers import KeeperError, State, ask, state
from vpn.model.ingress import Ingress, Tls

NAME = "app-51821.gateway.example"
Answer = Callable[[ssl.SSLSocket], None]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certified(tmp_path_factory.mktemp("asking"), NAME)


@contextmanager
def answering(certificate: Certificate, *answers: Answer) -> Iterator[Ingress]:
    """One connection after another gets the next answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, context, answers))
        thread.start()
        try:
            port = listener.getsockname()[1]
            yield Ingress(endpoint=f"127.0.0.1:{port}", tls=Tls(name=NAME, authorities=certificate.text))
        finally:
            thread.join(20)


def _serve(listener, context, answers) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    for answer in answers:
        tcp, _ = listener.accept()
        with suppress(OSError), context.wrap_socket(tcp, server_side=True) as connection:
            request = b""
            while not request.endswith((b"\r\n\r\n", b"{}")) or request.startswith(b"PUT") > request.endswith(b"{}"):
                request += connection.recv(65536)
            answer(connection)


def says(text: str, status: str = "200 OK") -> Answer:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return lambda connection: connection.sendall(head + body)


def test_an_answer_comes(certificate: Certificate) -> None:
    with answering(certificate, says('{"serial": 5, "missing": ["node"]}')) as ingress:
        assert state(ingress) == State(serial=5, missing=("node",))


def test_one_that_is_busy_is_asked_again(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepers, "PAUSE_SECONDS", (0, 0))
    with answering(certificate, says("{}", "503 Busy"), says("well")) as ingress:
        assert ask(ingress, "GET", "/evidence") == b"well"


def test_one_that_drips_does_not_hold_us(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepers, "SECONDS", 1)

    def drip(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(50):
            connection.sendall(b"x")
            time.sleep(0.2)

    begun = time.monotonic()
    with answering(certificate, drip) as ingress:
        with pytest.raises(KeeperError, match="does not answer"):
            ask(ingress, "GET", "/state")
        assert time.monotonic() - begun < 5


def test_what_a_stranger_says_does_not_steer_a_terminal(certificate: Certificate) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J"
    raw: Answer = lambda connection: connection.sendall(f"{evil} hello\r\n".encode())  # noqa: E731
    for answer in (raw, says(evil, "403 Forbidden"), says(f'{{"serial": "{evil}"}}')):
        with answering(certificate, answer) as ingress, pytest.raises(KeeperError) as error:
            state(ingress)
        assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", '{"serial": 1e999, "missing": []}', '{"serial": 1}', "[" * 5000])
def test_an_answer_without_sense_is_refused(certificate: Certificate, text: str) -> None:
    with answering(certificate, says(text)) as ingress, pytest.raises(KeeperError, match="tells nothing"):
        state(ingress)


def test_a_gateway_with_another_certificate_is_refused(certificate: Certificate, tmp_path: Path) -> None:
    other = certified(tmp_path, NAME)
    with answering(certificate, says("")) as ingress:
        wrong = Ingress(endpoint=ingress.endpoint, tls=Tls(name=NAME, authorities=other.text))
        with pytest.raises(KeeperError, match="CERTIFICATE_VERIFY_FAILED"):
            state(wrong)


# --- an order


def given(certificate: Certificate, *states: str) -> str:
    """What a confirmation says when the keeper answers so, one after another."""
    serials: list[int] = []

    def order(serial: int, _: int) -> str:
        serials.append(serial)
        return "{}"

    def answer(text: str) -> Answer:
        def speak(connection: ssl.SSLSocket) -> None:
            says(text.replace("SERIAL", str(max(serials, default=0))))(connection)

        return speak

    with answering(certificate, *map(answer, states)) as ingress:
        return Keeper(name="vm", ingress=ingress, order=order).confirm(10, 7)


IDLE = '{"serial": 0, "missing": []}'


def test_an_order_is_applied_when_nobody_is_missing(certificate: Certificate) -> None:
    waiting = '{"serial": SERIAL, "missing": ["node"]}'
    assert given(certificate, IDLE, waiting, waiting, '{"serial": SERIAL, "missing": []}') == ""


def test_a_keeper_that_forgot_the_order_has_not_applied_it(certificate: Certificate) -> None:
    assert "has order 0 instead of" in given(certificate, IDLE, '{"serial": SERIAL, "missing": ["node"]}', IDLE)


def test_an_order_is_later_than_the_last_also_when_the_clock_was_set_back(certificate: Certificate) -> None:
    ahead = time.time_ns() // 1_000_000 + 3_600_000
    serials: list[int] = []

    def order(serial: int, _: int) -> str:
        serials.append(serial)
        return "{}"

    with answering(certificate, says(f'{{"serial": {ahead}, "missing": []}}'), says(IDLE)) as ingress:
        Keeper(name="vm", ingress=ingress, order=order).deliver(10)
    assert serials == [ahead + 1]
