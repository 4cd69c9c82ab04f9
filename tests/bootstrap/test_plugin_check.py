"""A plugin that lacks what the SDK sends is found out before it is used."""

from pathlib import Path
from typing import Any

from bootstrap.plugin_check import Used, lacking

NETWORK = Used(package="docker", name="RemoteImage")


def sdk(site: Path) -> Path:
    source = site / NETWORK.source
    source.parent.mkdir()
    source.write_text('__props__.__dict__["keep_locally"] = 1\n__props__.__dict__["name"] = 2\n')
    return site


def schema(*inputs: str) -> dict[str, Any]:
    return {"resources": {"docker:index/remoteImage:RemoteImage": {"inputProperties": dict.fromkeys(inputs)}}}


def test_a_plugin_with_all_inputs_passes(tmp_path: Path) -> None:
    assert lacking(NETWORK, schema("name", "keepLocally", "platform"), sdk(tmp_path)) == []


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    assert lacking(NETWORK, schema("name"), sdk(tmp_path)) == [f"{NETWORK.token}.keep_locally"]


def test_a_missing_type_is_named(tmp_path: Path) -> None:
    assert lacking(NETWORK, {"resources": {}}, sdk(tmp_path)) == [NETWORK.token]
