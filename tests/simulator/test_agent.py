"""The simulator answers as the guest agent does: DStack's own client is content with it."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from dstack_sdk import DstackClient

from tests.simulator.guests import APP_ID, AUTHORITY, COMPOSE, asked, guest

PATH = "vpn/node-a/1"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[DstackClient]:
    with asked(tmp_path / "dstack.sock", guest()) as client:
        yield client


@pytest.fixture
def path(agent: DstackClient, tmp_path: Path) -> Path:
    assert agent.is_reachable()
    return tmp_path / "dstack.sock"


def key(agent: DstackClient, name: str = PATH, **more: Any) -> bytes:
    return bytes(agent.get_key(name, **more).decode_key())


def post(path: Path, target: str, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    with closing(connection):
        connection.request("POST", target, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


# --- keys


def test_a_path_has_the_same_key_whatever_the_purpose(agent: DstackClient) -> None:
    assert len(key(agent)) == 32
    assert key(agent) == key(agent, purpose="another") == key(agent, algorithm="ed25519")
    assert key(agent) != key(agent, "vpn/node-b/1")


def test_keys_are_those_of_the_application_in_all_its_versions_and_instances(
    agent: DstackClient, tmp_path: Path
) -> None:
    newer = guest(replace(COMPOSE, docker_compose_file="services: {a: {image: b}}\n"), instance="2")
    with asked(tmp_path / "newer.sock", newer) as other:
        assert key(other) == key(agent)
    with asked(tmp_path / "other.sock", guest(app_id=bytes(20))) as other:
        assert key(other) != key(agent)


# --- quotes


def test_a_quote_carries_the_report_data_and_the_registers_of_the_log(agent: DstackClient) -> None:
    answer = agent.get_quote(b"\1\2")
    quote = answer.decode_quote()
    assert quote[568:632] == b"\1\2".ljust(64, b"\0") == bytes.fromhex(answer.report_data)
    assert [quote[376 + 48 * index :][:48].hex() for index in range(4)] == list(answer.replay_rtmrs().values())


def test_two_simulators_with_one_seed_give_the_same_quote(agent: DstackClient, tmp_path: Path) -> None:
    with asked(tmp_path / "twin.sock", guest()) as twin:
        assert twin.get_quote(b"x").quote == agent.get_quote(b"x").quote


# --- information


def test_the_information_is_that_of_the_application(agent: DstackClient) -> None:
    info = agent.info()
    assert (info.app_id, info.compose_hash, info.app_name) == (APP_ID.hex(), COMPOSE.compose_hash(), "vpn")
    assert info.tcb_info.app_compose == COMPOSE.text()
    assert info.tcb_info.compose_hash == COMPOSE.compose_hash()
    measured = {event.event: event.event_payload for event in info.tcb_info.event_log if event.imr == 3}
    assert measured["instance-id"] == info.instance_id
    assert bytes.fromhex(measured["key-provider"]).decode() == info.key_provider_info


def test_instances_are_told_apart_unless_the_application_wants_none(agent: DstackClient, tmp_path: Path) -> None:
    with asked(tmp_path / "second.sock", guest(instance="2")) as other:
        assert other.info().instance_id != agent.info().instance_id
    with asked(tmp_path / "none.sock", guest(replace(COMPOSE, no_instance_id=True))) as other:
        assert other.info().instance_id == ""


def test_it_has_the_version_of_an_agent_and_says_that_it_is_none(agent: DstackClient) -> None:
    version = agent.version()
    assert (version.version, version.rev) == ("0.5.9", "simulator")
    assert "not Intel" in AUTHORITY.root.subject.rfc4514_string()


# --- refusals


@pytest.mark.parametrize(
    ("target", "body", "status", "error"),
    [
        ("/GetQuote", b'{"report_data":"zz"}', 400, "Invalid report data"),
        ("/GetQuote", b'{"report_data":"%s"}' % (b"00" * 65), 400, "Report data is too long"),
        ("/GetQuote", b'{"report_data":7}', 400, "report_data is not a string"),
        ("/GetKey", b'{"algorithm":"rsa"}', 400, "Unsupported algorithm: rsa"),
        ("/GetKey", b"[]", 400, "the request is no object"),
        ("/GetKey", b"{", 400, "Expecting property name"),
        ("/EmitEvent", b"{}", 404, "Service not found: EmitEvent"),
    ],
)
def test_it_refuses_what_the_agent_refuses(path: Path, target: str, body: bytes, status: int, error: str) -> None:
    found, answer = post(path, target, body)
    assert (found, set(answer)) == (status, {"error"})
    assert error in answer["error"]


def test_the_longest_report_data_is_taken(path: Path) -> None:
    assert post(path, "/v0/GetQuote", b'{"report_data":"%s"}' % (b"ff" * 64))[1]["report_data"] == "ff" * 64


def test_the_client_survives_a_refusal(agent: DstackClient) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        agent.emit_event("x", b"y")
    assert agent.is_reachable()


def test_a_key_provider_that_it_does_not_simulate_is_refused() -> None:
    with pytest.raises(ValueError, match="no key provider local"):
        guest(replace(COMPOSE, key_provider="local"))
