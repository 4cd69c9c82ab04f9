"""Relays that tests start by themselves."""

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from tests.integration.hosts import Hosts, eventually


@contextmanager
def udp2tcp(hosts: Hosts, image: Any, beside: str, to: str) -> Iterator[str]:
    """What Mullvad's tool of that name does, in the network namespace of a container: UDP port 51820 over TCP."""
    way = {
        "listen": "127.0.0.1:51820",
        "forward": to,
        "sources": ["127.0.0.0/8"],
        "idle": 130,
        "peer": None,
        "tls": None,
        "mutual": False,
    }
    settings = json.dumps({"outgoing": [way], "incoming": [], "echo": [], "meetings": [], "places": []})
    name, network = f"{beside}-udp2tcp", f"container:{beside}"
    relay = hosts.client.containers.create(image, tmpfs={"/run": ""}, network_mode=network, name=name)
    try:
        relay.put_archive("/etc", folder("udp-over-tcp", settings))
        relay.start()
        eventually(lambda: hosts.run(name, "health")[0] == 0, 10)
        yield name
    finally:
        relay.remove(force=True)


def folder(name: str, settings: str) -> bytes:
    """A tar of a folder as the config carrier would deliver it."""
    sums = f"{sha256(settings.encode()).hexdigest()}  settings.json\n"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for file, text in (("settings.json", settings), ("SHA256SUMS", sums)):
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()
