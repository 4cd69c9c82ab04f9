"""What the README says of the configuration and of one's own program is so."""

import re

from tests.components.harness import Engine
from tests.model.stack_files import PROJECT, SCHEMA
from vpn.model.access import ACCESS_DEFAULTS, ACCESS_KEYS
from vpn.model.alerts import rules
from vpn.model.monitoring_reader import MONITORING_DEFAULTS, MONITORING_KEYS
from vpn.model.postgres_reader import BACKUP_DEFAULTS, POSTGRES_DEFAULTS, POSTGRES_KEYS

README = (PROJECT / "README.md").read_text()


def test_the_table_lists_every_key_with_its_default() -> None:
    rows = {key: default.strip(" `") for key, default in re.findall(r"^\| `(\w+)` \|([^|]*)\|", README, re.MULTILINE)}
    expected = {key: str(entry.get("default") or "") for key, entry in SCHEMA.items()}
    none = dict.fromkeys(
        (
            "workloads",
            "links",
            "hosts",
            "hub",
            "gateways",
            "relays",
            "services",
            "groups",
            "rules",
            "tests",
            "postgres",
            "monitoring",
        ),
        "none",
    )
    assert rows == {**expected, **none, "access": "nobody", "proxyPort": "0", "presharedKeyGeneration": "0"}


def test_the_table_of_access_lists_every_key_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `access\.(\w+)` \|([^|]*)\|", README, re.MULTILINE))
    defaults = {key: f" `{value}` ".replace("False", "false") for key, value in ACCESS_DEFAULTS.items()}
    assert rows == dict.fromkeys(ACCESS_KEYS, " ") | defaults


def test_the_table_of_postgres_lists_every_key_with_its_default() -> None:
    rows = {
        key: told.strip(" `") for key, told in re.findall(r"^\| `postgres\.([\w.]+)` \|([^|]*)\|", README, re.MULTILINE)
    }
    others = {"nodes": "", "clients": "all nodes", "restoreTo": "the end"}
    lists = dict.fromkeys(("roles", "databases", "parameters", "backups"), "none")
    defaults = {key: str(value).lower() for key, value in POSTGRES_DEFAULTS.items()} | others | lists
    of_backups = {f"backups.{key}": str(value) for key, value in BACKUP_DEFAULTS.items() if value is not None}
    assert rows == defaults | of_backups
    assert set(POSTGRES_KEYS) == defaults.keys()


def test_the_table_of_monitoring_lists_every_key_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `monitoring\.(\w+)` \|([^|]*)\|", README, re.MULTILINE))
    defaults = {key: f" `{value}` " for key, value in MONITORING_DEFAULTS.items()}
    assert rows == dict.fromkeys(MONITORING_KEYS, " ") | {"alertmanager": " none "} | defaults


def test_the_table_of_alerts_lists_every_alert() -> None:
    groups = rules(5, has_database=True)["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert set(re.findall(r"^\| ([A-Z]\w+) \|", README, re.MULTILINE)) == alerts


def test_the_program_brings_up_a_mesh() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    engine = Engine().up({}, lambda: exec(code, {}))
    assert sorted(one.inputs["name"] for one in engine.all("Container")) == ["shop-config", "shop-db", "shop-web"]


def test_the_commands_are_those_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+): ##", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", README)) == targets
