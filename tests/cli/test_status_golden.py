"""What `vpn status` prints, character by character; `python -m tests.cli.test_status_golden` writes the files anew."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from unittest.mock import patch

import pytest

from tests.model.seen import key, on_host, reported, seen, told, tunnel, with_container
from vpn.cli import look
from vpn.cli.__main__ import main
from vpn.model.facts import DatabaseFacts, Facts, HostFacts, Member, Seen

GOLDEN = Path(__file__).parent / "golden"
NODES = [{"name": "a"}, {"name": "b"}, {"name": "c"}]
HOSTS = {
    "hosts": [{"name": one, "docker": f"ssh://ops@{one}", "address": f"198.51.100.{ord(one)}"} for one in "abc"],
    "nodes": [{"name": one, "host": one} for one in "abc"],
}
ACCESS = {"nodes": NODES, "access": {"enabled": True}, "services": [{"name": "page", "at": "a", "ports": 80}]}
CLUSTER = {"nodes": NODES, "postgres": {"nodes": ["a", "b", "c"]}}
FORMATS = {"txt": (), "json": ("--json",)}
Case = tuple[dict[str, Any], Facts]


def well() -> Case:
    mesh = told({"nodes": NODES})
    return mesh, seen(mesh)


def killed() -> Case:
    mesh = told({"nodes": NODES})
    return mesh, with_container(seen(mesh), "wireguard-b", Seen(state="exited", status="Exited (137) 3 seconds ago"))


def unreachable() -> Case:
    mesh = told(HOSTS)
    facts = seen(mesh)
    return mesh, replace(facts, hosts={**facts.hosts, "c": HostFacts(complaint="Connection refused")})


def members() -> Case:
    mesh = told(ACCESS)
    facts = seen(mesh)
    in_now = (
        Member(token=7, key="PHONE=", address="10.65.0.7", owner="0xAB"),
        Member(token=12, key="LAPTOP=", address="10.65.0.12", owner="0xCD"),
    )
    tunnels = {key(peer): tunnel(mesh["nodes"][peer]["endpoint"]) for peer in "bc"}
    tunnels["PHONE="] = tunnel("203.0.113.9:40000", 65)
    return mesh, reported(on_host(facts, members=in_now), "a", tunnels=tunnels)


def cluster() -> Case:
    mesh = told(CLUSTER)
    lags = {"a": 0, "b": 512, "c": None}
    roles = {"postgres-a": "primary", "postgres-b": "replica", "postgres-c": "replica"}
    views = {name: DatabaseFacts(role=role, state="running", leader="a", lags=lags) for name, role in roles.items()}
    return mesh, on_host(seen(mesh), databases=views)


CASES: dict[str, Callable[[], Case]] = {one.__name__: one for one in (well, killed, unreachable, members, cluster)}


def printed(name: str, folder: Path, *more: str) -> int:
    """Run it on a case, for who reads its standard output."""
    mesh, facts = CASES[name]()
    file = folder / "mesh.json"
    file.write_text(json.dumps(mesh))
    with patch.object(look, "facts", lambda _: facts), suppress(SystemExit):  # of typer, when all is well
        return main(["status", "--mesh", str(file), *more])
    return 0


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("suffix", "more"), FORMATS.items())
def test_what_is_printed_is_the_golden_text(
    name: str, suffix: str, more: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = printed(name, tmp_path, *more)
    assert capsys.readouterr().out == (GOLDEN / f"status-{name}.{suffix}").read_text()
    assert status == (name in ("killed", "unreachable"))


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for case in CASES:
        for ending, options in FORMATS.items():
            with (GOLDEN / f"status-{case}.{ending}").open("w") as golden, redirect_stdout(golden):
                printed(case, Path(gettempdir()), *options)
