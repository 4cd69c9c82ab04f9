"""The program with a node in a confidential VM: what it renders, whom it asks, and when it lets the node in."""

import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pulumi
import pytest
from dstack_node.evidence import Binding, evidence, report_data
from dstack_simulator import events
from dstack_simulator.certificates import Authority
from dstack_simulator.collateral import collateral
from dstack_simulator.guest import MRTD, Guest

from tests.components.harness import Engine
from tests.model.test_guest import APP, CONFIG, HERE, VM
from vpn.keepers import KeeperError
from vpn.model.app_compose import AppCompose
from vpn.model.ingress import Ingress
from vpn.model.keys import PrivateKey

AUTHORITY = Authority(b"components")
KEY = PrivateKey(bytes([7]) * 32).public()


class World:
    """A VM that runs what it was told to, and a keeper that answers as ours does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.compose = AppCompose(name="another", docker_compose_file="").text()
        self.nonce: bytes | None = None
        self.is_silent = False
        self.asked: list[str] = []
        (folder / "root.der").write_bytes(AUTHORITY.root_der)
        (folder / "collateral.json").write_text(collateral(AUTHORITY))

    @property
    def guest(self) -> Guest:
        return Guest(AUTHORITY, self.compose.encode(), bytes.fromhex(APP), "1")

    def config(self, *, app: str | None = APP, **more: Any) -> dict[str, Any]:
        registers = events.registers(self.guest.log)
        image = {"mrtd": MRTD, **{f"rtmr{number}": registers[number] for number in range(3)}}
        vm = {
            "app": app,
            "keyProvider": {"name": "kms", "id": self.guest.provider_id.hex()},
            "measurements": [{name: value.hex() for name, value in image.items()}],
            "collateral": str(self.folder / "collateral.json"),
            "insecureRoot": str(self.folder / "root.der"),
        }
        return CONFIG | {"hosts": [HERE, VM | vm | more]}

    def ask(self, ingress: Ingress, method: str, path: str, body: str | None = None) -> bytes:
        """In place of the way through the gateway."""
        assert (method, body) == ("GET", None)
        if self.is_silent:
            raise KeeperError("nobody does not answer")
        self.asked.append(ingress.endpoint)
        query = parse_qs(urlsplit(path).query)
        nonce, epoch = self.nonce or bytes.fromhex(query["nonce"][0]), int(query["epoch"][0])
        binding = Binding(network="wireguard", node="c", public_key=KEY.base64(), epoch=epoch, issued=_now())
        answer = self.guest.methods()["GetQuote"]({"report_data": report_data(binding, nonce).hex()})
        return evidence(binding, nonce, answer["quote"], answer["event_log"]).encode()

    def up(self, config: dict[str, Any], previous: dict[str, Any] | None = None) -> Engine:
        with patch("vpn.admission.ask", self.ask):
            return Engine(previous=previous).up(config)


def _now() -> int:

    return int(time.time())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def deployed(world: World) -> dict[str, Any]:
    """What the first `up` told; the VM runs what it rendered."""
    outputs = world.up(world.config(app=None)).outputs["Stack"]
    world.compose = outputs["guests"]["c"]["appCompose"]
    return dict(outputs)


def test_the_first_up_renders_and_declares_nothing_in_the_vm(world: World) -> None:
    engine = world.up(world.config(app=None))
    (node,) = engine.all("DstackNode")
    assert [one.name for one in engine.registered if one.parent == node.name] == []
    assert [one.name for one in engine.all("WireGuardNode")] == ["a", "b"]
    outputs = engine.outputs["Stack"]
    assert outputs["nodes"]["c"]["publicKey"] is None
    assert outputs["nodes"]["a"]["peers"] == ["b"]
    assert outputs["guests"]["c"]["admitted"] is False
    assert json.loads(outputs["guests"]["c"]["appCompose"])["name"] == "wireguard-c"
    assert world.asked == []


def test_an_app_that_was_never_rendered_is_refused(world: World) -> None:
    with pytest.raises(pulumi.RunError, match="nothing was rendered for it yet"):
        world.up(world.config())


def test_it_is_let_in_by_fresh_evidence(world: World) -> None:
    before = deployed(world)
    engine = world.up(world.config(), before)
    ((recipients, readers),) = engine.awaited
    assert ([one.name for one in recipients], readers) == (["here", "vm"], 2 + 2 + 2)  # nodes and relays
    outputs = engine.outputs["Stack"]
    assert outputs["nodes"]["c"]["publicKey"] == KEY.base64()
    assert outputs["nodes"]["a"]["peers"] == ["b", "c"]
    assert world.asked == [f"{APP}-51821.gateway.example.org:443"]
    assert outputs["guests"]["c"]["composeHash"] == before["guests"]["c"]["composeHash"]


def test_the_evidence_that_is_told_stays_while_it_says_the_same(world: World) -> None:
    first = world.up(world.config(), deployed(world)).outputs["Stack"]
    second = world.up(world.config(), first).outputs["Stack"]
    assert len(world.asked) == 2
    assert second["guests"] == first["guests"]


def test_a_replay_is_refused(world: World) -> None:
    before = deployed(world)
    world.nonce = bytes(32)
    with pytest.raises(pulumi.RunError, match="replay"):
        world.up(world.config(), before)


def test_an_application_that_nobody_rendered_is_refused(world: World) -> None:
    before = deployed(world)
    world.compose = world.compose.replace('"public_logs":false', '"public_logs":true')
    with pytest.raises(pulumi.RunError, match=r"(?s)node c: .*wrong compose hash.*fix: deploy the app-compose.json"):
        world.up(world.config(), before)


def test_the_version_before_is_let_in_once_more_and_not_twice(world: World) -> None:
    before = deployed(world)
    images = {"images": VM["images"] | {"node": "registry.example.org/node@sha256:" + "cd" * 32}}
    rolled = world.up(world.config(**images), before).outputs["Stack"]
    assert rolled["guests"]["c"]["composeHash"] != before["guests"]["c"]["composeHash"]
    with pytest.raises(pulumi.RunError, match="wrong compose hash"):
        world.up(world.config(**images), rolled)
    world.compose = rolled["guests"]["c"]["appCompose"]
    assert world.up(world.config(**images), rolled).outputs["Stack"]["guests"]["c"]["admitted"]


def test_one_that_is_silent_is_named_with_what_helps(world: World) -> None:
    before = deployed(world)
    world.is_silent = True
    with pytest.raises(
        pulumi.RunError, match=r"(?s)nothing was touched.*node c: nobody does not answer.*fix: start it"
    ):
        world.up(world.config(), before)


def test_statements_that_cannot_be_read_are_named(world: World) -> None:
    before = deployed(world)
    with pytest.raises(pulumi.RunError, match=r"nowhere\.json"):
        world.up(world.config(collateral="nowhere.json"), before)
