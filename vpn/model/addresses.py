"""Addresses that stay: who has one keeps it, whoever else comes or goes."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network


def host_count(network: IPv4Network) -> int:
    """How many hosts fit, without the network and the broadcast address."""
    return max(network.num_addresses - 2, 0)


def host(network: IPv4Network, number: int) -> IPv4Address:
    """The host with a number from 1. Raises ValueError when the network is too small for it."""
    if not 1 <= number <= host_count(network):
        raise ValueError(f"{network} has no host number {number}")
    return network.network_address + number


def host_number(network: IPv4Network, address: IPv4Address) -> int:
    """The reverse of `host`."""
    return int(address) - int(network.network_address)


def subnet(network: IPv4Network, prefix: int, number: int) -> IPv4Network:
    """The part with a number from 0 when a network is cut into parts of a prefix length."""
    size = 1 << (network.max_prefixlen - prefix)
    part = IPv4Network((int(network.network_address) + number * size, prefix))
    if not part.subnet_of(network):
        raise ValueError(f"{network} has no /{prefix} number {number}")
    return part


def assign(
    names: Sequence[str], fixed: Mapping[str, int], previous: Mapping[str, int], usable: range
) -> dict[str, int]:
    """Give every name a number: the fixed one, else the one it had before, else the lowest that is free.

    Raises ValueError when there are more names than usable numbers.
    """
    taken = {name: fixed[name] for name in names if name in fixed}
    for name in names:
        number = previous.get(name, -1)
        if name not in taken and number in usable and number not in taken.values():
            taken[name] = number
    used = set(taken.values())
    free = (number for number in usable if number not in used)
    for name in names:
        if name not in taken:
            taken[name] = next(free, -1)
    if -1 in taken.values():
        raise ValueError(f"{len(names)} names, {len(usable)} numbers")
    return {name: taken[name] for name in names}
