"""Private keys, preshared keys and the seed are in the nodes' volumes and nowhere else in plain text."""

import json
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pytest

from tests.integration.hosts import Hosts
from tests.integration.stack import Stack
from vpn.model.keys import KeyRing

OVERLAP = 64


@pytest.fixture
def secrets(mesh: Stack) -> set[bytes]:
    """Every secret of the mesh, from the decrypted state."""
    resources = (mesh.api.export_stack().deployment or {})["resources"]
    (seed,) = [one["outputs"]["result"] for one in resources if one["type"].endswith(":RandomPassword")]
    text = json.loads(seed["plaintext"]) if isinstance(seed, dict) else seed
    keys, names = KeyRing(seed=text, mesh="it"), ("a", "b")
    found = {text, *(keys.private_key(name, 1).base64() for name in names)}
    found |= {keys.preshared_key(one, other, 1).base64() for one, other in combinations(names, 2)}
    return {secret.encode() for secret in found}


def leaked(secrets: set[bytes], chunks: Iterable[bytes]) -> bool:
    """Whether a stream of bytes holds a secret."""
    tail = b""
    for chunk in chunks:
        window = tail + chunk
        if any(secret in window for secret in secrets):
            return True
        tail = window[-OVERLAP:]
    return False


def test_the_search_finds_what_is_there(secrets: set[bytes], hosts: Hosts) -> None:
    config = hosts.out("it-a", "cat", "/etc/wireguard/wg0.conf").encode()
    assert len(secrets) == 4
    assert leaked(secrets, [config])
    assert leaked(secrets, [config[index : index + 7] for index in range(0, len(config), 7)])


def test_files_with_keys_are_for_root_alone(mesh: Stack, hosts: Hosts) -> None:
    modes = hosts.out("it-a", "sh", "-c", "stat -c '%a %U' /etc/wireguard /etc/wireguard/*").split("\n")[:-1]
    assert set(modes[1:]) == {"600 root"}, mesh.name
    assert hosts.out("it-config", "stat", "-c", "%a %U", "/bundle.tar.gz") == "600 root\n"


def test_docker_shows_no_secret(secrets: set[bytes], mesh: Stack, hosts: Hosts) -> None:
    client, ours = hosts.client, {"label": f"dstack-vpn.mesh={mesh.outputs()['mesh']}"}
    containers = client.containers.list(filters=ours)
    assert len(containers) == 5
    shown = [*containers, *client.networks.list(filters=ours), *client.volumes.list(filters=ours)]
    shown += [container.image for container in containers]
    assert not leaked(secrets, (json.dumps(one.attrs).encode() for one in shown))
    assert not leaked(secrets, (container.logs() for container in containers))


def test_processes_show_no_secret(secrets: set[bytes], hosts: Hosts) -> None:
    seen = 0
    for name in ("it-a", "it-b", "it-config"):
        for _, pid in hosts.get(name).top(ps_args="-eo comm,pid")["Processes"]:
            for file in ("cmdline", "environ"):
                path = Path("/proc", pid, file)
                if path.exists():  # some are short-lived
                    assert not leaked(secrets, [path.read_bytes()])
                    seen += 1
    assert seen > 6


def test_image_layers_hold_no_secret(secrets: set[bytes], hosts: Hosts) -> None:
    image = hosts.get("it-a").image
    assert image.history()
    assert not leaked(secrets, image.save())


def test_state_and_outputs_hold_no_secret_in_plain_text(secrets: set[bytes], mesh: Stack) -> None:
    files = [path for path in mesh.backend.rglob("*") if path.is_file()]
    assert len(files) > 2
    assert not leaked(secrets, (path.read_bytes() for path in files))
    for command in (("stack", "export"), ("stack", "output", "--json"), ("preview", "--diff"), ("config",)):
        said = mesh.run(*command)
        assert said.returncode == 0
        assert not leaked(secrets, [said.stdout.encode(), said.stderr.encode()])
