"""The containers of a PostgreSQL cluster: least privilege, secrets as secrets, data that stay, one after another."""

from typing import Any
from unittest.mock import patch

import pytest

from tests.components.harness import Engine, Secret, plain, secrets
from tests.model.example import SEED
from tests.model.stack_files import DEFAULTS, NAMESPACE, _read
from vpn.components.rolling import Member
from vpn.model.hosts import LOCAL

CONFIG = (
    DEFAULTS
    | {key.removeprefix(NAMESPACE): value for key, value in _read("Pulumi.postgres.yaml")["config"].items()}
    | {"name": "wireguard", "siteRange": "10.64.0.0/16"}
)
PARTS = [f"{kind}-node-{node}" for kind in ("etcd", "haproxy", "postgres") for node in "abc"]
TMPFS = "rw,nosuid,nodev,noexec,size=16m,mode=1777"


def up(**change: Any) -> Engine:
    config = CONFIG | {"postgres": CONFIG["postgres"] | change}
    last = {"c": 0, "b": 1, "a": 2}
    with (
        patch.object(Member, "rank", lambda member: last[member.container[-1]]),
        patch.object(Member, "differs", return_value=False),
    ):
        return Engine().up(config)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return up()


def test_these_are_its_containers_and_volumes(engine: Engine) -> None:
    assert [one.name for one in engine.all("Container") if "-node" in one.name and one.name[:5] != "node-"] == PARTS
    data = [one.inputs["name"] for one in engine.all("Volume") if one.name.endswith("_data")]
    assert data == [f"wireguard-{kind}-node-{node}-data" for kind in ("etcd", "postgres") for node in "abc"]


def test_every_container_is_named_in_the_outputs(engine: Engine) -> None:
    named = {one["container"]: one["kind"] for one in engine.outputs["Stack"]["containers"]}
    assert set(named) == {one.inputs["name"] for one in engine.all("Container")}
    assert {"postgres", "etcd", "haproxy"} <= set(named.values())


@pytest.mark.parametrize("name", PARTS)
def test_a_container_is_bounded_and_has_the_least_privilege(engine: Engine, name: str) -> None:
    inputs = engine.find("Container", name).inputs
    kind, node = name.split("-", 1)
    assert inputs["capabilities"] == {"adds": ["CAP_KILL", "CAP_SETGID", "CAP_SETUID"], "drops": ["ALL"]}
    assert (inputs["readOnly"], inputs["securityOpts"]) == (True, ["no-new-privileges"])
    assert inputs["memory"] == inputs["memorySwap"] > 0
    assert inputs["command"] == ["member", kind]
    assert inputs["tmpfs"] == dict.fromkeys(("/run", "/run/cluster", "/tmp"), TMPFS)
    assert [one["name"] for one in inputs["networksAdvanced"]] == [f"wireguard-site-{node}"]
    assert not {"privileged", "envs", "ports", "uploads", "devices"} & set(inputs)


def test_postgresql_has_time_to_end(engine: Engine) -> None:
    inputs = engine.find("Container", "postgres-node-a").inputs
    assert (inputs["destroyGraceSeconds"], inputs["stopTimeout"], inputs["memory"]) == (60, 60, 512)
    assert engine.find("Container", "node-a").inputs["destroyGraceSeconds"] == 5


def test_the_data_stay_unless_the_configuration_says_otherwise(engine: Engine) -> None:
    assert not any(one.options.protect for one in engine.registered)
    kept = [one.name for one in up(protect=True).registered if one.options.protect]
    assert sorted(kept) == [f"{kind}-node-{node}_data" for kind in ("etcd", "postgres") for node in "abc"]


def test_every_account_has_a_password_that_only_secrets_hold(engine: Engine) -> None:
    made = [one for one in engine.all("RandomPassword") if one.name != "seed"]
    assert [one.name for one in made] == [f"postgres_{name}" for name in ("api", "app", "replication", "rewind")]
    assert all("result" in one.options.additional_secret_outputs for one in made)
    assert [one.name for one in engine.registered for _ in secrets(one.inputs)] == [f"{LOCAL.name}_config"]
    shown = engine.outputs["Stack"]
    assert shown["postgresPasswords"] == {"app": Secret(SEED)}
    assert not any(SEED in text for one in engine.registered for text in plain(one.inputs))


def test_how_to_connect_is_told(engine: Engine) -> None:
    told = engine.outputs["Stack"]["postgres"]
    assert told["clients"]["node-b"] == {"host": "haproxy-node-b.vpn.dstack", "address": "10.64.2.252"}
    assert (told["primaryPort"], told["replicaPort"], told["databases"]) == (5000, 5001, {"app": "app"})


def test_the_carrier_brings_all_of_them_their_files(engine: Engine) -> None:
    folders = {one["containerPath"] for one in engine.find("Container", "local_config").inputs["volumes"]}
    assert {f"/config/{name}" for name in PARTS} <= folders


def test_members_are_made_one_after_another_in_the_order_that_was_asked_for(engine: Engine) -> None:
    made = [one.name for one in engine.registered if one.type.endswith(":Container")]
    order = [name for name in made if name.startswith(("etcd", "postgres"))]
    assert order == [f"{kind}-node-{node}" for kind in ("etcd", "postgres") for node in "cba"]
    assert "back-wireguard-postgres-node-a" in engine.hooks


def test_backups_have_a_container_and_a_volume_that_stays() -> None:
    engine = up(backups={"node": "node-b"}, protect=True)
    inputs = engine.find("Container", "backup-node-b").inputs
    assert inputs["command"] == ["member", "backup"]
    assert [one["name"] for one in inputs["networksAdvanced"]] == ["wireguard-site-node-b"]
    assert "/var/lib/pgbackrest" in {one["containerPath"] for one in inputs["volumes"]}
    assert "backup-node-b_data" in {one.name for one in engine.registered if one.options.protect}
