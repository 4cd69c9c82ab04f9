"""Who has an address keeps it, whoever else comes or goes."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.strategies import labels
from vpn.model.addresses import assign, host, host_count, host_number, subnet

USABLE = range(1, 255)

Numbers = dict[str, int]


@pytest.mark.parametrize(
    ("names", "fixed", "previous", "expected"),
    [
        ("", {}, {}, {}),
        ("abc", {}, {}, {"a": 1, "b": 2, "c": 3}),
        ("abc", {"b": 1}, {}, {"a": 2, "b": 1, "c": 3}),
        ("abc", {"b": 9}, {}, {"a": 1, "b": 9, "c": 2}),
        ("abc", {}, {"c": 1}, {"a": 2, "b": 3, "c": 1}),
        ("bc", {}, {"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 3}),
        ("bcd", {}, {"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 3, "d": 1}),
        ("a", {"a": 7}, {"a": 1}, {"a": 7}),
        ("ab", {"b": 1}, {"a": 1}, {"a": 2, "b": 1}),
        ("ab", {}, {"a": 5, "b": 5}, {"a": 5, "b": 1}),
        ("a", {}, {"a": 255}, {"a": 1}),
        ("a", {}, {"a": 0}, {"a": 1}),
        ("a", {"z": 1}, {"y": 1}, {"a": 1}),
    ],
)
def test_assign(names: str, fixed: Numbers, previous: Numbers, expected: Numbers) -> None:
    assert assign(names, fixed, previous, USABLE) == expected


@given(st.lists(labels, unique=True, max_size=20), st.lists(labels, unique=True, max_size=20))
def test_nobody_moves_when_others_come_and_go(before: list[str], after: list[str]) -> None:
    first = assign(before, {}, {}, USABLE)
    second = assign(after, {}, first, USABLE)
    assert {name: second[name] for name in after if name in first} == {n: first[n] for n in after if n in first}


@given(
    st.lists(labels, unique=True, max_size=20),
    st.dictionaries(labels, st.integers(1, 254)),
    st.dictionaries(labels, st.integers(-1, 300)),
)
def test_all_numbers_are_usable_and_differ(names: list[str], fixed: Numbers, previous: Numbers) -> None:
    fixed = {name: number for number, name in {number: name for name, number in fixed.items()}.items()}
    numbers = assign(names, fixed, previous, USABLE)
    assert list(numbers) == names
    assert len(set(numbers.values())) == len(names)
    assert set(numbers.values()) <= set(USABLE)
    assert fixed.items() >= {name: numbers[name] for name in names if name in fixed}.items()


@given(st.integers(0, 30))
def test_a_range_takes_as_many_names_as_it_has_numbers(room: int) -> None:
    names = [f"n{index}" for index in range(room)]
    assert set(assign(names, {}, {}, range(5, 5 + room)).values()) == set(range(5, 5 + room))
    with pytest.raises(ValueError, match=f"{room + 1} names, {room} numbers"):
        assign([*names, "late"], {}, {}, range(5, 5 + room))


@pytest.mark.parametrize(("network", "count"), [("10.0.0.0/24", 254), ("10.0.0.0/30", 2), ("10.0.0.0/31", 0)])
def test_network_and_broadcast_are_no_hosts(network: str, count: int) -> None:
    assert host_count(IPv4Network(network)) == count


@pytest.mark.parametrize(
    ("network", "number", "expected"),
    [
        ("10.0.0.0/24", 1, "10.0.0.1"),
        ("10.0.0.0/24", 254, "10.0.0.254"),
        ("172.20.0.0/16", 256, "172.20.1.0"),
        ("10.0.0.4/30", 2, "10.0.0.6"),
    ],
)
def test_host(network: str, number: int, expected: str) -> None:
    assert host(IPv4Network(network), number) == IPv4Address(expected)
    assert host_number(IPv4Network(network), IPv4Address(expected)) == number


@pytest.mark.parametrize(
    ("network", "number"), [("10.0.0.0/24", 0), ("10.0.0.0/24", 255), ("10.0.0.0/24", -1), ("10.0.0.0/32", 1)]
)
def test_a_host_outside_its_network_is_refused(network: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{network} has no host number {number}"):
        host(IPv4Network(network), number)


@pytest.mark.parametrize(
    ("network", "prefix", "number", "expected"),
    [
        ("10.64.0.0/16", 24, 0, "10.64.0.0/24"),
        ("10.64.0.0/16", 24, 255, "10.64.255.0/24"),
        ("10.64.0.0/24", 24, 0, "10.64.0.0/24"),
        ("10.64.0.0/23", 24, 1, "10.64.1.0/24"),
    ],
)
def test_subnet(network: str, prefix: int, number: int, expected: str) -> None:
    assert subnet(IPv4Network(network), prefix, number) == IPv4Network(expected)


@pytest.mark.parametrize(
    ("network", "prefix", "number"), [("10.64.0.0/16", 24, 256), ("10.64.0.0/16", 24, -1), ("10.64.0.0/25", 24, 0)]
)
def test_a_subnet_outside_its_network_is_refused(network: str, prefix: int, number: int) -> None:
    with pytest.raises(ValueError, match=f"{network} has no /{prefix} number {number}"):
        subnet(IPv4Network(network), prefix, number)
