"""The program inside the cluster's containers: whose turn it is, passwords, roles, the exchange with the carrier."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from postgres_cluster import accounts, postgres, scram
from postgres_cluster.__main__ import OTHER_VERSION, _look
from postgres_cluster.backup import due
from postgres_cluster.delivery import Delivery, DeliveryError
from postgres_cluster.turn import RESTART, SWITCH_OVER, turn

from vpn.model import status


def member(
    name: str, role: str = "quorum_standby", state: str = "streaming", *, pending: bool = True
) -> dict[str, Any]:
    return {"name": name, "role": role, "state": state, **({"pending_restart": True} if pending else {})}


def test_the_command_line_knows_a_primary_by_the_same_words() -> None:
    assert status.PRIMARY_ROLES == postgres.PRIMARY_ROLES


LEADER = member("a", "leader", "running")
WELL = member("a", "leader", "running", pending=False)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([LEADER, member("b"), member("c")], {"b": RESTART}),
        ([LEADER, member("b", pending=False), member("c")], {"c": RESTART}),
        ([LEADER, member("b", pending=False), member("c", pending=False)], {"a": SWITCH_OVER}),
        ([LEADER, member("b", state="restarting"), member("c")], {}),
        ([LEADER, member("b", state="starting", pending=False), member("c")], {}),
        ([LEADER, member("b")], {}),
        ([WELL, member("b", pending=False), member("c", pending=False)], {}),
    ],
)
def test_one_at_a_time_and_the_primary_last(members: list[dict[str, Any]], expected: Mapping[str, str]) -> None:
    assert {name: now for name in "abc" if (now := turn(name, members, 3))} == expected


def lowered(name: str, old: str, new: str) -> dict[str, Any]:
    reason = {"max_connections": {"old_value": old, "new_value": new}}
    return member(name, "leader", "running") | {"pending_restart_reason": reason}


def test_the_primary_is_first_where_the_others_cannot_have_less_than_it() -> None:
    others = [member("b"), member("c")]
    assert [turn(name, [lowered("a", "120", "100"), *others], 3) for name in "abc"] == [RESTART, None, None]
    assert [turn(name, [lowered("a", "100", "120"), *others], 3) for name in "abc"] == [None, RESTART, None]


HOUR = 3600
SCHEDULE = {"every": 24, "full": 168}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([], "full"),
        ([("full", 1)], None),
        ([("full", 25)], "incr"),
        ([("full", 100), ("incr", 23)], None),
        ([("full", 100), ("incr", 24)], "incr"),
        ([("full", 168), ("incr", 1)], "full"),
    ],
)
def test_a_backup_is_due_when_the_last_is_too_old(made: list[tuple[str, int]], expected: str | None) -> None:
    known = [{"type": kind, "timestamp": {"stop": -hours * HOUR}} for kind, hours in made]
    assert due(known, 0, SCHEDULE) == expected


def test_a_verifier_is_the_one_of_the_standard() -> None:
    """RFC 7677, 3: user "user", password "pencil"."""
    known = scram._verifier("pencil", b"[m\x99h\x9d\x125\x8e\xec\xa0K\x14\x126\xfa\x81", 4096)  # noqa: SLF001
    assert known.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert known.endswith(":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
    assert scram.is_for(known, "pencil")
    assert not scram.is_for(known, "pen")
    assert not scram.is_for("", "pencil")


def ensured(found: Mapping[str, Any], there: Mapping[str, Any], **wanted: Any) -> str:
    """The statements that were run."""
    said: list[str] = []

    def psql(statements: str) -> bytes:
        said.append(statements)
        return json.dumps({"roles": found, "databases": there}).encode()

    accounts.ensure(psql, {"roles": {}, "own_roles": {}, "databases": {}} | wanted)
    return "".join(said[1:]).removeprefix(accounts.WITHOUT_REPLICAS)


def role(password: str = "", *, ours: bool = True, login: bool = True) -> dict[str, Any]:
    return {"password": scram.verifier(password) if password else "", "ours": ours, "login": login}


def database(owner: str, *, public: bool = False) -> dict[str, Any]:
    return {"owner": owner, "public": public}


def test_a_new_role_and_its_database_are_made_and_no_password_is_in_a_statement() -> None:
    said = ensured({}, {}, roles={"app": "hidden"}, databases={"shop": "app"})
    assert 'CREATE ROLE "app";' in said
    assert 'ALTER ROLE "app" LOGIN PASSWORD \'SCRAM-SHA-256$4096:' in said
    assert 'CREATE DATABASE "shop" OWNER "app";' in said
    assert "hidden" not in said


def test_what_is_as_wanted_is_left_alone() -> None:
    wanted = {"roles": {"app": "x"}, "own_roles": {"replication": "y"}, "databases": {"shop": "app"}}
    found = {"app": role("x"), "replication": role("y", ours=False), "postgres": role(ours=False)}
    assert ensured(found, {"shop": database("app")}, **wanted) == ""


def test_what_was_begun_is_ended() -> None:
    """Between two statements the primary may have been lost."""
    wanted = {"roles": {"app": "x"}, "databases": {"shop": "app"}}
    said = ensured({"app": role("x", ours=False)}, {"shop": database("app", public=True)}, **wanted)
    assert said.splitlines() == [
        "COMMENT ON ROLE \"app\" IS 'dstack-vpn';",
        'REVOKE CONNECT, TEMPORARY ON DATABASE "shop" FROM PUBLIC;',
    ]


def test_a_new_password_is_set_also_for_the_own_roles() -> None:
    found = {"app": role("old"), "rewind": role("old", ours=False)}
    said = ensured(found, {}, roles={"app": "new"}, own_roles={"rewind": "new"})
    assert [line.split()[2] for line in said.splitlines()] == ['"app"', '"rewind"']


def test_a_role_that_is_no_longer_wanted_cannot_log_in_and_strangers_can() -> None:
    said = ensured({"old": role("x"), "stranger": role("y", ours=False)}, {})
    ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'old'"
    assert said == f'ALTER ROLE "old" NOLOGIN;\n{ending};\n'


def test_a_parameter_that_postgresql_does_not_know_is_named() -> None:
    def psql(_: str) -> bytes:
        return b"work_mem\nmax_connections\n"

    assert accounts.unknown(psql, ["work_mem", "wokr_mem", "auto_explain.log_analyze"]) == ["wokr_mem"]


class Newer:
    """A program that needs more than was delivered."""

    def accept(self, files: dict[str, bytes]) -> None:
        files["new.json"]

    def converge(self) -> str:
        return ""

    def status(self) -> int | None:
        return None

    def stop(self) -> None:
        """Nothing runs."""


def test_a_config_of_another_version_ends_no_program(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text("")
    assert _look(Delivery(tmp_path), Newer()) == f"{OTHER_VERSION}: 'new.json' is missing"
    assert not (tmp_path / "applied").exists()


def test_the_exchange_with_the_carrier(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path)
    with pytest.raises(DeliveryError, match="no config"):
        delivery.load()
    (tmp_path / "one").write_text("text")
    sums = f"{sha256(b'text').hexdigest()}  one\n".encode()
    (tmp_path / "SHA256SUMS").write_bytes(sums)
    assert delivery.load() == ({"one": b"text"}, sums)
    delivery.acknowledge(sums)
    assert (tmp_path / "applied").read_bytes() == sums
    (tmp_path / "one").write_text("other")
    with pytest.raises(DeliveryError, match="does not match"):
        delivery.load()
