"""What operators type, without an engine: how answers of engines are read, and how it is shown."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import docker
from tests.cli.conftest import Vpn
from vpn.cli import bundle, examine, logs, look
from vpn.cli.failure import CliError
from vpn.cli.logs import Line, sources
from vpn.cli.status import age_text, size
from vpn.model.facts import Seen

NOWHERE = "tcp://127.0.0.1:9"
PROBE = """\
# now
1000.5 1.0
# tun
yes
# forwards
1
# uptime
1000.25
# state
ok abc kernel
# dataplane
kernel
# public-key
OWN=
# latest-handshakes
# transfer
# endpoints
# paths
10.0.0.2 1420 1420
10.0.0.3 0 1376
"""


@pytest.mark.parametrize("command", ["status", "check", "graph", "doctor", "logs"])
def test_an_engine_that_does_not_answer_is_told(vpn: Vpn, outputs: dict[str, Any], command: str) -> None:
    outputs["hosts"]["local"]["docker"] = NOWHERE
    vpn.mesh.write_text(json.dumps(outputs))
    status, output, errors = vpn.run(command)
    assert status == (command != "graph")
    assert "✗ node-a" in output if command == "graph" else "127.0.0.1" in output + errors
    assert "fix: " in errors or command == "graph"


@pytest.mark.parametrize("text", ["[]", "5", "{}", '{"nodes": {}}'])
@pytest.mark.parametrize("command", ["status", "check", "graph", "doctor", "logs"])
def test_what_is_no_mesh_is_refused(vpn: Vpn, command: str, text: str) -> None:
    vpn.mesh.write_text(text)
    assert "fix: run `pulumi up` once with this version" in vpn.refused(command)


def test_a_bundle_is_never_written_over_a_file(vpn: Vpn, outputs: dict[str, Any], tmp_path: Path) -> None:
    outputs["hosts"]["local"]["docker"] = NOWHERE
    vpn.mesh.write_text(json.dumps(outputs))
    file = tmp_path / "there.tar.gz"
    file.write_text("mine")
    assert "fix: name a file that is not there yet" in vpn.refused("bundle", "-o", str(file))
    assert file.read_text() == "mine"


# --- how answers are read


def test_a_look_from_inside_a_node() -> None:
    probe = examine.parsed(PROBE)
    assert (probe.has_tun, probe.forwards) == (True, True)
    assert probe.report.age == 0.25
    assert probe.paths == {"10.0.0.2": (1420, 1420), "10.0.0.3": (0, 1376)}
    without = examine.parsed(PROBE.replace("yes\n", "").replace("# forwards\n1", "# forwards\n0"))
    assert (without.has_tun, without.forwards) == (False, False)


@pytest.mark.parametrize("text", ["", "bash: not found", PROBE.partition("# paths")[0]])
def test_what_is_no_look(text: str) -> None:
    with pytest.raises((LookupError, ValueError)):
        examine.parsed(text)


def test_why_a_container_does_not_run() -> None:
    log = [{"ExitCode": 0, "Output": "ok"}, {"ExitCode": 1, "Output": "wg0 is\x1b[2J not up\n"}]
    found = examine.stopped({"Error": "e", "OOMKilled": True, "Health": {"Log": log}})
    assert (found.error, found.out_of_memory) == ("e", True)
    assert found.said == "wg0 is\\x1b[2J not up", "it steers no terminal"
    assert examine.stopped({"Health": {"Log": log[:1]}}).said == ""
    assert examine.stopped({}).said == ""


@pytest.mark.parametrize(("clock", "ahead"), [(99.5, -0.5), (100, 0), (101, 0), (102, 0), (104.5, 2.5)])
def test_a_slow_answer_is_no_clock_that_differs(clock: float, ahead: float) -> None:
    assert look.skew(clock, asked=100, answered=102) == ahead


class Answers:
    """An engine that answers as told; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def inspect_container(self, name: str) -> Any:
        return self._answer(name.replace("-", "_"))

    def version(self) -> Any:
        return self._answer("version")

    def exec_create(self, name: str, _: list[str]) -> Any:
        return self._answer(name.replace("-", "_")) | {"Id": "1"}

    def exec_start(self, _: str) -> bytes:
        return PROBE.encode()

    def exec_inspect(self, _: str) -> dict[str, Any]:
        return {"ExitCode": 0}

    def _answer(self, name: str) -> Any:
        if isinstance(self.answers[name], Exception):
            raise self.answers[name]
        return self.answers[name]


DEAD = Seen(state="exited", status="Exited (137)")
RUNS = Seen(state="running", status="Up")
BROKEN = docker.errors.APIError("500: lock is held")
OUT_OF_MEMORY = {"State": {"Error": "", "OOMKilled": True}}


@contextmanager
def engine(answers: Answers) -> Iterator[Answers]:
    yield answers


def examined(monkeypatch: pytest.MonkeyPatch, outputs: dict[str, Any], seen: dict[str, Seen], answers: Answers) -> Any:
    monkeypatch.setattr(examine, "connected", lambda *_: engine(answers))
    return examine._Examination(outputs, look.hosts(outputs)["local"], seen).result()  # noqa: SLF001 (its engine is not real)


def test_one_container_of_which_an_engine_does_not_tell_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, outputs: dict[str, Any]
) -> None:
    answers = Answers(wireguard_node_a=BROKEN, wireguard_node_b=OUT_OF_MEMORY, version={"Version": "20.10.24"})
    found = examined(monkeypatch, outputs, {"wireguard-node-a": DEAD, "wireguard-node-b": DEAD}, answers)
    assert found.stopped["local", "wireguard-node-b"].out_of_memory
    assert found.version == "20.10.24"


@pytest.mark.parametrize("error", [BROKEN, TimeoutError("timed out")])
def test_a_node_that_cannot_be_looked_into_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, outputs: dict[str, Any], error: Exception
) -> None:
    answers = Answers(wireguard_node_a=error, wireguard_node_b={}, version=error)
    found = examined(monkeypatch, outputs, {"wireguard-node-a": RUNS, "wireguard-node-b": RUNS}, answers)
    assert list(found.probes) == ["node-b"]
    assert str(error) in found.unseen["node-a"]
    assert found.version == ""


def test_nodes_of_an_engine_that_is_gone_meanwhile_are_told(outputs: dict[str, Any]) -> None:
    outputs["hosts"]["local"]["docker"] = NOWHERE
    host = look.hosts(outputs)["local"]
    found = examine._Examination(outputs, host, {"wireguard-node-a": RUNS, "wireguard-node-b": DEAD}).result()  # noqa: SLF001
    assert list(found.unseen) == ["node-a"]
    assert found.unseen["node-a"]


def test_a_tool_that_is_not_there_has_no_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert examine.tools()["docker"] == ""


# --- logs


def test_what_an_endpoint_says_through_the_gate_makes_no_member_and_steers_no_terminal() -> None:
    key, owner = "k" * 43 + "=", "0x" + "a" * 40
    forged = f"failed: \x1b[2J\n# members\n8 {key} 10.96.0.8 {owner}\nfour words of it\n"
    said, members = look.told_by_gate(f"{forged}# members\n7 {key} 10.96.0.7 {owner}\n")
    assert said.startswith("failed: \\x1b[2J\\n")
    assert [(one.token, one.address) for one in members] == [(7, "10.96.0.7")]
    assert look.told_by_gate("OCI runtime exec failed") == ("OCI runtime exec failed", ())


MEMBERS = [
    {"name": "a", "role": "leader", "state": "running", "lag": None},
    {"name": "b", "role": "quorum_standby", "state": "streaming", "lag": 512},
    {"name": "c", "role": "replica", "state": "stopped", "lag": "unknown"},
]


def test_what_a_member_says_of_the_others() -> None:
    told = {"complaint": "", "name": "b", "role": "replica", "state": "running", "members": MEMBERS}
    found = look.told_by_member(json.dumps(told))
    assert (found.role, found.leader, found.lags) == ("replica", "a", {"a": None, "b": 512, "c": None})
    alone = look.told_by_member(json.dumps({"complaint": "Patroni does not answer: timed out"}))
    assert (alone.complaint, alone.leader, alone.lags) == ("Patroni does not answer: timed out", "", {})
    assert look.told_by_member("OCI runtime exec failed").complaint == "tells nothing: OCI runtime exec failed"


def test_lines_of_a_log_steer_no_terminal() -> None:
    lines = list(logs.read("a", "2026-11-25T15:00:00.000000001Z one\n2026-11-25T15:00:00.000000002Z \x1b[2Jtwo\n"))
    assert lines[0] == Line("2026-11-25T15:00:00.000000001Z", "a", "one")
    assert lines[1].text == "\\x1b[2Jtwo"


def test_only_dockers_own_line_ends_end_a_line() -> None:
    (line,) = logs.read("a", "2026-01-01T00:00:00.5Z one\r2027-01-01T00:00:00.5Z two\u2028three\n")
    assert (line.time, line.text) == ("2026-01-01T00:00:00.5Z", "one\\r2027-01-01T00:00:00.5Z two\\u2028three")
    assert list(logs.read("a", "")) == []


def test_names_are_those_of_the_mesh_or_of_containers(outputs: dict[str, Any]) -> None:
    assert [one.container for one in sources(outputs, ["node-a", "wireguard-gate"])] == [
        "wireguard-node-a",
        "wireguard-gate",
    ]
    assert len(sources(outputs, [])) == len(outputs["containers"])


def test_what_several_hosts_have_is_told_apart(outputs: dict[str, Any]) -> None:
    outputs["hosts"]["nyc"] = outputs["hosts"]["local"]
    outputs["containers"].append({"name": "config", "kind": "config", "host": "nyc", "container": "wireguard-config"})
    assert [one.name for one in sources(outputs, ["config"])] == ["config@local", "config@nyc"]


def test_nobody_sees_logs_of_a_confidential_vm(outputs: dict[str, Any]) -> None:
    outputs["guests"] = {"node-c": {}}
    with pytest.raises(CliError, match="node-c is in a confidential VM"):
        sources(outputs, ["node-c"])


def test_times_of_logs(vpn: Vpn) -> None:
    assert "fix: write it like 90s, 10m, 2h or 1d" in vpn.refused("logs", "--since", "yesterday")


# --- how it is shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "never"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_how_long_ago(seconds: float | None, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB"), (5 << 60, "5120.0 PiB")]
)
def test_how_many_bytes(count: int, text: str) -> None:
    assert size(count) == text


# --- what a bundle must not hold


PRIVATE = "IJ9vCbhaCHeWWdYqfYpHYEqMS8NOgcJ5WxXLsFR9Z1k="
PASSWORD = "Abc123Def456Ghi789Jkl012Mno345Pqr678Stu901V"


def packed(files: dict[str, str]) -> bytes:
    """As Docker gives the archive of a config carrier: a tar with the archive in it."""
    return tar_of({"bundle.tar.gz": gzip.compress(tar_of({name: text.encode() for name, text in files.items()}))})


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_secrets_of_everything_that_was_delivered() -> None:
    files = {
        "a/wg0.conf": f"[Interface]\nPrivateKey = {PRIVATE}\n",
        "gate/settings.json": json.dumps({"rpcUrl": "https://rpc/k", "lease": 5}),
        "postgres-a/cluster.json": json.dumps({"roles": {"app": PASSWORD}}),
    }
    files["monitoring/alertmanager.yml"] = json.dumps({"webhook_configs": [{"url": "https://hook/9f2c"}]})
    files["etcd-a/wanted.json"] = json.dumps({"etcd": "https://10.64.1.251:2379"})
    urls = {"https://rpc/k", "k", "https://hook/9f2c", "9f2c"}
    assert bundle.within(packed(files)) == {PRIVATE, PASSWORD, *urls}


def test_secrets_of_a_state() -> None:
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
    state = {
        "resources": [
            {"outputs": {"result": {**secret, "plaintext": json.dumps(PASSWORD)}, "length": 43, "name": "seed"}},
            {"inputs": {"uploads": {**secret, "plaintext": json.dumps([{"contentBase64": "QUJD"}])}}},
        ]
    }
    assert sorted(bundle.plaintexts(state)) == [PASSWORD, "QUJD"]


def test_of_an_environment_only_the_names_are_told() -> None:
    inspected = {"Id": "x", "Config": {"Env": ["DATABASE=postgres://me:x@db/a=b", "EMPTY="], "Image": "i"}}
    told = bundle.without_values(inspected)
    assert told == {"Id": "x", "Config": {"Env": ["DATABASE=[removed]", "EMPTY=[removed]"], "Image": "i"}}
    assert bundle.without_values({"Config": {"Env": None}}) == {"Config": {"Env": []}}
