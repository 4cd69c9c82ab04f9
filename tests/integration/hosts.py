"""Looking at containers from outside, as an operator does."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from docker.models.containers import Container

import docker
from vpn.engines import Engine


def eventually(what: Callable[[], bool], seconds: float, message: str = "") -> float:
    """Wait for a condition, and return how long that took. Fails when it does not come true in time."""
    started = time.monotonic()
    while not what():
        waited = time.monotonic() - started
        assert waited < seconds, f"not within {seconds} s: {message or what}"
        time.sleep(0.1)
    return time.monotonic() - started


def client_of(engine: Engine) -> docker.DockerClient:
    """The SDK's client on our kind of connection, which loses nothing of what a command prints."""
    client = docker.DockerClient(version=engine.api_version)
    client.api.close()
    client.api = engine
    return client


@dataclass
class Hosts:
    """The containers of one Docker engine."""

    client: docker.DockerClient

    def get(self, name: str) -> Container:
        """A container as it is now."""
        return self.client.containers.get(name)

    def run(self, name: str, *command: str) -> tuple[int, str]:
        """Exit status and output of a command in a container."""
        result = self.get(name).exec_run(list(command))
        return result.exit_code, result.output.decode()

    def out(self, name: str, *command: str) -> str:
        """Output of a command that must succeed."""
        status, output = self.run(name, *command)
        assert status == 0, f"{name}: {' '.join(command)}: {output}"
        return output

    def pings(self, name: str, address: str) -> bool:
        """Whether one ping is answered within a second."""
        return self.run(name, "ping", "-c1", "-W1", address)[0] == 0

    def page(self, client: str, server: str) -> str | None:
        """The web page of a server as a client gets it; None when it does not within two seconds."""
        status, output = self.run(client, "wget", "-T2", "-t1", "-qO-", f"http://{server}:80")
        return output if status == 0 else None

    def transferred(self, node: str) -> int:
        """Bytes that the tunnels of a node carried, both ways."""
        lines = self.out(node, "wg", "show", "wg0", "transfer").splitlines()
        return sum(int(number) for line in lines for number in line.split()[1:])

    def peers(self, node: str) -> set[str]:
        """Public keys of a node's peers."""
        return set(self.out(node, "wg", "show", "wg0", "peers").split())

    @contextmanager
    def paused_agent(self, node: str) -> Iterator[None]:
        """Stop the agent for a while, so that it repairs nothing meanwhile; the tunnel runs on."""
        process = self.get(node).attrs["State"]["Pid"]
        os.kill(process, signal.SIGSTOP)
        try:
            eventually(lambda: not self._applies(node), 10, "a pass that had begun is through")
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    def _applies(self, node: str) -> bool:
        processes = self.get(node).top(ps_args="-eo pid,args")["Processes"]
        return any("bin/apply" in words for _, words in processes)

    def ids(self, *names: str) -> dict[str, tuple[str, str]]:
        """Container ID and start time by name: equal before and after means untouched."""
        containers = [self.get(name) for name in names]
        return {container.name: (container.id, container.attrs["State"]["StartedAt"]) for container in containers}
