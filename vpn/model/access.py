"""Who but the nodes may join: the holders of access passes, as a contract on a chain tells."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from vpn.model.addresses import host, host_count
from vpn.model.reader import NOT_SHOWN, Reader, is_http

ACCESS_KEYS = (
    "enabled",
    "memberRange",
    "gateRange",
    "chainPort",
    "rpcUrl",
    "contractAddress",
    "finality",
    "leaseSeconds",
    "tickSeconds",
    "maxHeadAgeSeconds",
)
ACCESS_DEFAULTS: Mapping[str, Any] = {
    "enabled": False,
    "memberRange": "10.65.0.0/24",
    "gateRange": "10.66.0.0/28",
    "chainPort": 8545,
    "finality": "latest",
    "leaseSeconds": 300,
    "tickSeconds": 1,
}
CHAIN_CONTRACT = "0x5fbdb2315678afecb367f032d93f642f64180aa3"  # the first contract of the first account has it
CHAIN_RPC_PORT = 8545
MAX_HEAD_AGE = 300  # seconds without a block on a public chain: the endpoint is behind, or cut off
TICKS_A_LEASE = 3  # one lost tick must not end a lease
DAY = 86_400
WIDEST, NARROWEST = 20, 30  # a /20 is what the contract can count, a /30 has two members
GATE_PREFIX = 29  # room for Docker's gateway, the chain and the gate
NOWHERE = IPv4Network("0.0.0.0/32")  # stands for a range that is wrong
FINALITIES = ("latest", "safe", "finalized")
CONFIRMATIONS = 10_000
CONTRACT_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


@dataclass(frozen=True, kw_only=True)
class Access:
    """The rule of access, and where what carries it out stands."""

    member_range: IPv4Network
    """A member's address is this range's plus the number of the pass."""
    gate_range: IPv4Network
    """Docker network of the gate and the embedded chain."""
    chain_port: int
    """TCP port on the Docker host's loopback interface where the embedded chain answers."""
    rpc_url: str | None = field(repr=False)
    """JSON-RPC endpoint of a real chain; None for the embedded one."""
    contract: str
    """Address of the access-pass contract."""
    finality: str
    """What a key must be final by before it is let in: latest, safe, finalized, or a number of confirmations."""
    lease: int
    """Seconds that members stay when the chain cannot be read."""
    tick: int
    """Seconds between two looks at the chain."""
    max_head_age: int
    """Seconds; a newest block older than that is not believed. 0 believes any."""

    @property
    def embedded(self) -> bool:
        """Whether the chain is one of our own."""
        return self.rpc_url is None

    @property
    def capacity(self) -> int:
        """How many passes have an address."""
        return host_count(self.member_range)

    @property
    def gateway(self) -> IPv4Address:
        """Docker's own address on the gate's network."""
        return host(self.gate_range, 1)

    @property
    def chain_address(self) -> IPv4Address:
        """The embedded chain's address."""
        return host(self.gate_range, 2)

    @property
    def gate_address(self) -> IPv4Address:
        """The gate's address."""
        return host(self.gate_range, 3)

    @property
    def endpoint(self) -> str:
        """The JSON-RPC endpoint that the gate asks; a secret unless the chain is the embedded one."""
        return self.rpc_url or f"http://{self.chain_address}:{CHAIN_RPC_PORT}"


@dataclass(frozen=True)
class AccessReader:
    """Reads `access` and notes what is wrong; ranges come first, because others must not overlap them."""

    reader: Reader
    ranges: Mapping[str, IPv4Network | None]

    @classmethod
    def of(cls, reader: Reader) -> "AccessReader | None":
        """None when nobody but the nodes shall join."""
        if reader.raw.get("access") is None:
            return None
        within = reader.within("access", ACCESS_KEYS, ACCESS_DEFAULTS)
        if not within.flag("enabled"):
            return None
        members = _range(within, "memberRange", WIDEST, NARROWEST)
        return cls(within, {"memberRange": members, "gateRange": _range(within, "gateRange", 8, GATE_PREFIX)})

    def access(self) -> Access:
        """The rule; not one to use when something wrong was noted."""
        reader, embedded = self.reader, self.reader.raw.get("rpcUrl") is None
        return Access(
            member_range=self.ranges["memberRange"] or NOWHERE,
            gate_range=self.ranges["gateRange"] or NOWHERE,
            chain_port=reader.number("chainPort", 1, 65_535),
            rpc_url=_url(reader),
            contract=_contract(reader, embedded=embedded),
            finality=_finality(reader, embedded=embedded),
            tick=reader.number("tickSeconds", 1, 60),
            lease=_lease(reader),
            max_head_age=_max_head_age(reader, embedded=embedded),
        )


def _range(reader: Reader, key: str, widest: int, narrowest: int) -> IPv4Network | None:
    network = reader.network(key)
    if network is None or widest <= network.prefixlen <= narrowest:
        return network
    reader.wrong(key, str(network), f"is not from a /{widest} to a /{narrowest}", "choose another size")
    return None


def _url(reader: Reader) -> str | None:
    url = reader.raw.get("rpcUrl")
    if url is None:
        return None
    fix = "write it like https://host/path; a key belongs into the path, the whole into a secret: "
    fix += "pulumi config set --secret --path access.rpcUrl"
    if not is_http(url):
        reader.wrong("rpcUrl", NOT_SHOWN, "is not an http or https URL without user name", fix)
    return str(url)


def _contract(reader: Reader, *, embedded: bool) -> str:
    address = reader.raw.get("contractAddress")
    if embedded and address is None:
        return CHAIN_CONTRACT
    if embedded:
        reader.wrong("contractAddress", address, "is set without rpcUrl", "set both for a real chain, or neither")
    elif not isinstance(address, str) or not CONTRACT_ADDRESS.fullmatch(address):
        fix = "set the address of the access-pass contract on the chain of rpcUrl; `vpn pass deploy` prints it"
        reader.wrong("contractAddress", address, "is not 0x and 40 hexadecimal digits", fix)
    return str(address).lower()


def _finality(reader: Reader, *, embedded: bool) -> str:
    value = reader.raw.get("finality")
    count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= CONFIRMATIONS
    if not count and value not in FINALITIES:
        fix = f"use {', '.join(FINALITIES)}, or a number of confirmations up to {CONFIRMATIONS}"
        reader.wrong("finality", value, "is not known", fix)
    elif embedded and value != FINALITIES[0]:
        reader.wrong("finality", value, "is set without rpcUrl", "leave it out: a block of the embedded chain is final")
    return str(value)


def _lease(reader: Reader) -> int:
    lease, tick = reader.number("leaseSeconds", 5, DAY), reader.raw.get("tickSeconds")
    if isinstance(tick, int) and lease < TICKS_A_LEASE * tick <= TICKS_A_LEASE * 60:
        fix = f"use at least {TICKS_A_LEASE * tick}, or a shorter tick"
        reader.wrong("leaseSeconds", lease, f"is less than {TICKS_A_LEASE} ticks of {tick} s", fix)
    return lease


def _max_head_age(reader: Reader, *, embedded: bool) -> int:
    if reader.raw.get("maxHeadAgeSeconds") is None:
        return 0 if embedded else MAX_HEAD_AGE
    if embedded:
        fix = "leave it out: the embedded chain makes a block only when there is a transaction"
        reader.wrong("maxHeadAgeSeconds", reader.raw["maxHeadAgeSeconds"], "is set without rpcUrl", fix)
        return 0
    return reader.number("maxHeadAgeSeconds", 0, DAY)
