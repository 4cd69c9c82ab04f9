"""Where the command line learns what the mesh is; without a chain."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Vpn
from tests.model.stack_files import PROJECT
from vpn.cli import mesh
from vpn.cli.failure import CliError


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """bin/vpn, as a user runs it, from a folder of their own."""
    command = [str(PROJECT / "bin" / "vpn"), *arguments]
    env = {**os.environ, **more}
    return subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False, timeout=60)


def test_help_lists_every_command() -> None:
    done = run("pass", "--help")
    assert done.returncode == 0
    for name in ("mint", "bind", "clear", "transfer", "burn", "suspend", "lift", "list", "deploy"):
        assert f" {name} " in done.stdout


def test_without_a_stack_the_fix_is_told(tmp_path: Path) -> None:
    own = {"PULUMI_BACKEND_URL": f"file://{tmp_path}", "PULUMI_CONFIG_PASSPHRASE": "x"}
    done = run("pass", "list", "--stack", "nothing", **own)
    assert (done.returncode, done.stdout) == (1, "")
    assert "stack nothing does not tell its outputs" in done.stderr
    assert "--mesh" in done.stderr


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", '{"access": 5}', '{"access": {"memberRange": "x"}}'])
def test_a_file_that_holds_no_mesh(vpn: Vpn, text: str) -> None:
    vpn.mesh.write_text(text)
    assert "fix: " in vpn.refused("pass", "list")


def test_a_mesh_that_nobody_can_join(vpn: Vpn, outputs: dict[str, Any]) -> None:
    vpn.mesh.write_text(json.dumps(outputs | {"access": None}))
    assert "nobody but the nodes can join" in vpn.refused("pass", "list")


def test_the_endpoint_of_a_real_chain_must_be_given(vpn: Vpn, outputs: dict[str, Any]) -> None:
    outputs["access"]["rpcUrl"] = None
    vpn.mesh.write_text(json.dumps(outputs))
    assert "give --rpc URL" in vpn.refused("pass", "list")


def test_a_chain_that_does_not_answer(vpn: Vpn) -> None:
    assert "http://127.0.0.1:9 does not answer" in vpn.refused("pass", "list")


def test_an_unknown_option_is_a_mistake_in_usage(vpn: Vpn) -> None:
    assert vpn.run("pass", "list", "--nothing")[0] == 2


# --- several hosts


def on_hosts(outputs: dict[str, Any], published: dict[str, str | None]) -> dict[str, Any]:
    """The outputs of nodes on hosts of their own."""
    for name, endpoint in published.items():
        outputs["nodes"][name] |= {"host": name, "published": endpoint}
    return outputs


def test_members_are_told_the_published_ports_of_hosts_that_they_reach(vpn: Vpn, outputs: dict[str, Any]) -> None:
    vpn.mesh.write_text(json.dumps(on_hosts(outputs, {"node-a": "198.51.100.1:51820", "node-b": None})))
    (peer,) = mesh.read(str(vpn.mesh), "dev").peers(None)
    assert (peer.name, peer.endpoint) == ("node-a", "198.51.100.1:51820")


def test_where_nothing_gets_in_members_cannot_come(vpn: Vpn, outputs: dict[str, Any]) -> None:
    vpn.mesh.write_text(json.dumps(on_hosts(outputs, {"node-a": None, "node-b": None})))
    with pytest.raises(CliError, match="nothing gets in at node-a, node-b"):
        mesh.read(str(vpn.mesh), "dev").peers(None)
