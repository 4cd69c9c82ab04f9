"""vpn bundle: all that helps to find out what is wrong with a mesh, in one file that can be given away."""

import io
import json
import tarfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import docker
from bootstrap import command
from bootstrap.environment import existing
from vpn.cli import examine, look, mesh
from vpn.cli.failure import CliError
from vpn.cli.options import Answer, JsonOption, MeshOption, StackOption, show
from vpn.engines import Engine, connected
from vpn.model.checkup import Checkup
from vpn.model.doctor import examine as findings
from vpn.model.facts import Outputs
from vpn.model.hosts import Host
from vpn.model.redaction import REMOVED, Redaction, endpoints, strings, tokens
from vpn.model.untrusted import shown

SECONDS = 60  # for an answer of an engine
TAIL = 2000  # lines of each log
FOLDER = "vpn-bundle"
ARCHIVE = "/bundle.tar.gz"  # in a config carrier: all that was ever delivered on its host
STATE_FIX = "set PULUMI_CONFIG_PASSPHRASE_FILE to its passphrase, or name a file of outputs with --mesh"
FIX = "the bundle was not written: say so where you got this program, with the kind of secret and the file's name"
# In a node. `wg show` hides private and preshared keys (wg(8), WG_HIDE_KEYS).
LOOKS = (
    "wg show wg0",
    "nft list ruleset",
    "ip -details address show",
    "ip route show table all",
    "ip rule show",
    "ss -lntu",
    "cat /run/wireguard/state /run/wireguard/dataplane /run/wireguard/transport",
    "cat /etc/wireguard/node.env /etc/wireguard/hosts",
    "report",
    "cat /proc/uptime /proc/loadavg /proc/meminfo",
)
EACH = 'for one; do echo "$ $one"; $one 2>&1; echo; done'
OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .tar.gz that is not there yet.")]
Texts = dict[str, str]


def bundle(
    output: OutputOption, stack: StackOption = "dev", mesh_file: MeshOption = None, *, as_json: JsonOption = False
) -> None:
    """Pack outputs, status, findings, logs, and what containers and nodes look like, without any secret.

    Nothing is written unless a search for every secret of the mesh, and for what looks like one, finds none.
    """
    with Console(stderr=True).status("collecting") as progress:
        outputs = mesh.outputs(mesh_file, stack)
        checkup = examine.checkup(outputs)
        found = _Collection(outputs, checkup).texts()
        progress.update("taking secrets out")
        redaction = Redaction.of(_secrets(outputs, None if mesh_file else stack), _public(checkup))
        cleaned = {name: redaction.clean(text) for name, text in found.items()}
        progress.update("proving that none is left")
        _prove(cleaned, redaction)
    _write(output, cleaned)
    show(Answer({"file": str(output), "files": sorted(cleaned)}, f"{output}: {len(cleaned)} files"), as_json=as_json)


# --- what is in it


@dataclass(frozen=True)
class _Collection:
    outputs: Outputs
    checkup: Checkup

    def texts(self) -> Texts:
        """Content by the file's name."""
        told = {name: value for name, value in self.outputs.items() if name != "postgresPasswords"}
        texts = {
            "outputs.json": _json(told),
            "status.json": _json(asdict(self.checkup.status)),
            "doctor.json": _json([asdict(one) for one in findings(self.checkup)]),
            "versions.json": _json(dict(self.checkup.versions)),
        }
        with ThreadPoolExecutor(look.AT_ONCE) as pool:
            for found in pool.map(self._host, look.hosts(self.outputs).values()):
                texts |= found
        return texts

    def _host(self, host: Host) -> Texts:
        entries = [one for one in self.outputs["containers"] if one["host"] == host.name]
        try:
            with connected(host, SECONDS) as engine, ThreadPoolExecutor(examine.AT_ONCE) as pool:
                texts = {f"{host.name}/engine.json": _json(engine.version())}
                for found in pool.map(lambda one: dict(_container(engine, one)), entries):
                    texts |= {f"{host.name}/{name}": text for name, text in found.items()}
                return texts
        except (docker.errors.DockerException, OSError) as error:
            return {f"{host.name}/error.txt": f"{error}\n"}


def _container(engine: Engine, entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name, container = entry["name"], entry["container"]
    try:
        yield f"{name}/inspect.json", _json(without_values(engine.inspect_container(container)))
        said = engine.logs(container, timestamps=True, tail=TAIL)
        yield f"{name}/log.txt", said.decode(errors="replace")
        if entry["kind"] == "node":
            yield f"{name}/looks.txt", look.run(engine, container, "sh", "-c", EACH, "sh", *LOOKS, seconds=SECONDS)[1]
    except docker.errors.APIError as error:
        yield f"{name}/error.txt", f"{error}\n"


def without_values(inspected: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of a workload is the user's: only its names are told."""
    config = dict(inspected["Config"])
    config["Env"] = [f"{one.partition('=')[0]}={REMOVED}" for one in config.get("Env") or []]
    return {**inspected, "Config": config}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str) + "\n"


# --- what must not be


def _public(checkup: Checkup) -> set[str]:
    """All that the stack tells anybody, and the keys of members, which are on the chain."""
    told = {name: value for name, value in checkup.outputs.items() if name != "postgresPasswords"}
    found = {one for text in strings(told) for one in (text, *tokens(text))}
    found |= {one["container"] for one in checkup.outputs["containers"]}
    return found | {one.key for one in checkup.status.members}


def _secrets(outputs: Outputs, stack: str | None) -> set[str]:
    """Of everything that was delivered, and of the state, if it is a stack's."""
    found = set(strings(outputs.get("postgresPasswords")))
    for host in look.hosts(outputs).values():
        found |= _delivered(outputs, host)
    return found | (_of_state(stack) if stack else set())


def _delivered(outputs: Outputs, host: Host) -> set[str]:
    """What may be a secret in the archive of a host's config carrier; nothing when it is not to be had."""
    carriers = [
        one["container"] for one in outputs["containers"] if (one["kind"], one["host"]) == ("config", host.name)
    ]
    found: set[str] = set()
    try:
        with connected(host, SECONDS) as engine:
            for carrier in carriers:
                packed, _ = engine.get_archive(carrier, ARCHIVE)
                found |= within(b"".join(packed))
    except docker.errors.NotFound as error:
        reason = f"host {host.name}: which secrets were delivered there, its config carrier knew: {shown(str(error))}"
        raise CliError(reason, fix="run `pulumi up` first, so that none of them can be in the bundle") from None
    except (docker.errors.DockerException, OSError):
        return found  # nothing of that host is in the bundle either
    return found


def within(packed: bytes) -> set[str]:
    """What may be a secret in an archive; Docker gives a tar with it in it."""
    found: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(packed)) as outer:
        inner = outer.extractfile(ARCHIVE.removeprefix("/"))
        with tarfile.open(fileobj=io.BytesIO(inner.read() if inner else b""), mode="r:gz") as files:
            for entry in files:
                content = files.extractfile(entry)
                text = content.read().decode(errors="replace") if content else ""
                found |= tokens(text) | endpoints(text)
    return found


def _of_state(stack: str) -> set[str]:
    """All that is encrypted in the state. Raises CliError: without it nobody could be sure."""
    ask = ["pulumi", "--non-interactive", "stack", "export", "--show-secrets", "--stack", stack]
    result = command.ask(ask, env=existing(), cwd=mesh.PROJECT)
    if not result.ok:
        raise CliError(f"stack {stack} does not tell its secrets, which shall not be in the bundle", fix=STATE_FIX)
    return set(plaintexts(json.loads(result.answer)))


def plaintexts(value: Any) -> Iterator[str]:
    """What Pulumi decrypted: `plaintext` holds JSON."""
    if isinstance(value, dict) and isinstance(value.get("plaintext"), str):
        yield from strings(json.loads(value["plaintext"]))
    elif isinstance(value, dict):
        for one in value.values():
            yield from plaintexts(one)
    elif isinstance(value, list):
        for one in value:
            yield from plaintexts(one)


def _prove(texts: Texts, redaction: Redaction) -> None:
    """Raises CliError naming the files that still hold a secret, and not the secret."""
    left = [f"{name} holds {', '.join(kinds)}" for name, text in texts.items() if (kinds := redaction.left(text))]
    if left:
        raise CliError("; ".join(left), fix=FIX)


def _write(output: Path, texts: Texts) -> None:
    """For its owner alone, and never over another file. Raises CliError."""
    try:
        with output.open("xb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
            output.chmod(0o600)
            for name, text in sorted(texts.items()):
                entry, content = tarfile.TarInfo(f"{FOLDER}/{name}"), text.encode()
                entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
                tar.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise CliError(f"{output}: {error}", fix="name a file that is not there yet, in a folder that is") from None
