"""Networks of a test's own: namespaces, links between them, and what gets through."""

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network


def run(*command: str) -> str:
    """Run a command that must succeed; what it said."""
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, f"{' '.join(command)}: {result.stderr}"
    return result.stdout


@dataclass(frozen=True)
class Namespace:
    """A network namespace."""

    name: str

    @classmethod
    def made(cls, name: str, undo: ExitStack) -> "Namespace":
        """A new one, which goes in the end."""
        run("ip", "netns", "add", name)
        undo.callback(run, "ip", "netns", "delete", name)
        namespace = cls(name)
        namespace.ip("link set lo up")
        namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
        return namespace

    def ip(self, arguments: str) -> None:
        """Run ip(8) there."""
        run("ip", "-n", self.name, *arguments.split())

    def run(self, *command: str) -> str:
        """Run a command there."""
        return run("nsenter", f"--net=/run/netns/{self.name}", *command)

    def iptables(self, rule: str) -> None:
        """Change the packet filter there."""
        self.run("iptables", "--wait", *rule.split())


def behind_this_machine(namespace: Namespace, range_: str, undo: ExitStack) -> None:
    """Lead a namespace to the outside through this machine, as builds of images need it."""
    link, (outer, inner) = f"{namespace.name}0"[:15], _ends(range_)
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "up0", "netns", namespace.name)
    run("ip", "address", "add", outer, "dev", link)
    run("ip", "link", "set", link, "up")
    namespace.ip(f"address add {inner} dev up0")
    namespace.ip("link set up0 up")
    namespace.ip(f"route add default via {outer.partition('/')[0]}")
    rules = (
        ("nat", "POSTROUTING", "-s", range_, "!", "-o", link, "-j", "MASQUERADE"),
        ("filter", "FORWARD", "-i", link, "-j", "ACCEPT"),
        ("filter", "FORWARD", "-o", link, "-j", "ACCEPT"),
    )
    for table, chain, *rule in rules:
        run("iptables", "--wait", "-t", table, "-I", chain, *rule)
        undo.callback(run, "iptables", "--wait", "-t", table, "-D", chain, *rule)


def join(router: Namespace, other: Namespace, range_: str) -> None:
    """A link from a router to a namespace behind it, named after that at the router's end."""
    outer, inner = _ends(range_)
    router.ip(f"link add {other.name} type veth peer name up0 netns {other.name}")
    router.ip(f"address add {outer} dev {other.name}")
    router.ip(f"link set {other.name} up")
    other.ip(f"address add {inner} dev up0")
    other.ip("link set up0 up")
    other.ip(f"route add default via {outer.partition('/')[0]}")


def _ends(range_: str) -> tuple[str, str]:
    """Both addresses of a /30."""
    network = IPv4Network(range_)
    one, other = network.hosts()
    return f"{one}/{network.prefixlen}", f"{other}/{network.prefixlen}"
