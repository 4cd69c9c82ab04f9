"""The engine itself goes down and comes up: the mesh is back without an `up`. A destroy leaves nothing."""

from pathlib import Path

import pytest

import docker
from tests.integration.conftest import CONFIG
from tests.integration.engine import private_engine
from tests.integration.hosts import Hosts, eventually
from tests.integration.stack import Stack


@pytest.mark.timeout(900)
def test_after_a_restart_of_the_engine_all_is_back_and_a_destroy_leaves_nothing(tmp_path: Path) -> None:
    with private_engine() as engine:
        stack = Stack(tmp_path / "stack", dict(CONFIG), name="reboot", env={"DOCKER_HOST": engine.url})
        stack.up()
        with engine.connected() as client:
            peers = Hosts(client).peers("it-a")
            assert Hosts(client).page("it-client", "it-server")
        engine.stop()
        engine.start()
        with engine.connected() as client:
            _check_that_all_is_back(stack, Hosts(client), peers)
            stack.destroy()
            _check_that_nothing_is_left(client)


def _check_that_all_is_back(stack: Stack, hosts: Hosts, peers: set[str]) -> None:
    eventually(lambda: hosts.page("it-client", "it-server") is not None, 60, "all is back without an up")
    assert hosts.peers("it-a") == peers
    assert set(stack.changes()) == {"same"}


def _check_that_nothing_is_left(client: docker.DockerClient) -> None:
    assert client.containers.list(all=True) == []
    assert {network.name for network in client.networks.list()} == {"bridge", "host", "none"}
    assert client.volumes.list() == []
    assert [image.tags for image in client.images.list()] == [["debian:trixie-slim"]]
