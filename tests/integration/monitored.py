"""A monitored mesh from outside: what Prometheus says, and what its page shows in a real browser."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from docker.models.containers import Container

from tests.integration.hosts import Hosts, eventually

BROWSER = Path(__file__).parent / "browser"
IMAGE = "it-browser:latest"
PROGRAMS = "/usr/local/lib/browser"


@dataclass
class Monitored:
    """Prometheus, asked over the mesh by a workload that may."""

    hosts: Hosts
    name: str
    """Of the mesh."""
    client: str
    """The workload's container."""

    def ask(self, path: str) -> Any:
        """What Prometheus's HTTP API answers."""
        url = f"http://monitoring.vpn.dstack:9090/api/v1/{path}"
        return json.loads(self.hosts.out(self.client, "wget", "-T5", "-t1", "-qO-", url))["data"]

    def samples(self, expression: str) -> dict[tuple[str, str], float]:
        """Value by node and peer."""
        found = self.ask(f"query?query={quote(expression)}")["result"]
        return {(one["metric"].get("node", ""), one["metric"].get("peer", "")): float(one["value"][1]) for one in found}

    def firing(self) -> set[tuple[str, str]]:
        """Alerts that fire, and of which node."""
        labels = [one["labels"] for one in self.ask("alerts")["alerts"] if one["state"] == "firing"]
        return {(one["alertname"], one.get("node", "")) for one in labels}

    def fires(self, alert: str, node: str, seconds: float) -> float:
        """Wait until an alert fires; how long that took."""
        return eventually(lambda: (alert, node) in self.firing(), seconds, f"{alert} of {node} fires")

    def ends(self, alert: str, node: str, seconds: float) -> None:
        """Wait until it no longer does."""
        eventually(lambda: (alert, node) not in self.firing(), seconds, f"{alert} of {node} ends")


@dataclass
class Page:
    """The status page in Chromium, in the network of a workload."""

    container: Container

    def states(self) -> list[dict[str, Any]]:
        """All that it showed, one after the other, with the time of each."""
        lines = self.container.logs(stderr=False).decode().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def shows(self, what: str, state: str, since: float, seconds: float) -> float:
        """Wait until a node or link has a state, and return how many seconds after a time that was."""

        def times() -> list[float]:
            return [one["time"] for one in self.states() if one["time"] > since and one["shapes"].get(what) == state]

        eventually(lambda: bool(times()), seconds, f"{what} is {state}")
        return times()[0] - since

    def tells(self, text: str, seconds: float) -> None:
        """Wait until a line of it contains a text."""
        eventually(lambda: text in json.dumps(self.states()[-1], ensure_ascii=False), seconds, f"the page tells {text}")

    def inspected(self, url: str) -> dict[str, Any]:
        """How it is for people, in a browser of its own."""
        status, output = self.container.exec_run(["python3", f"{PROGRAMS}/inspect_page.py", url])
        assert status == 0, output.decode()
        found: dict[str, Any] = json.loads(output)
        return found


@contextmanager
def browsed(hosts: Hosts, image: Any, client: str, url: str) -> Iterator[Page]:
    """A browser in the network of a workload, open at a page; gone afterwards."""
    command = ["python3", f"{PROGRAMS}/watch.py", url]
    container = hosts.client.containers.run(
        image, command, detach=True, network_mode=f"container:{client}", name=f"{client}-browser", shm_size="256m"
    )
    try:
        page = Page(container)
        eventually(lambda: bool(page.states()), 30, "the page shows something")
        yield page
    finally:
        container.remove(force=True)
