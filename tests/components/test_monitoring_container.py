"""The container of the monitoring: least privilege, samples that outlive it, and where it is told to be."""

import pytest

from tests.components.harness import Engine, Secret, plain, secrets
from tests.model.stack_files import DEV

HOOK = "https://hooks.example.org/canary"
CONFIG = DEV | {"monitoring": {"node": "node-b", "alertmanager": {"webhook": HOOK}}}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine().up(CONFIG)


def test_it_is_bounded_and_has_no_privilege(engine: Engine) -> None:
    inputs = engine.find("Container", "monitoring").inputs
    assert inputs["capabilities"] == {"adds": [], "drops": ["ALL"]}
    assert (inputs["readOnly"], inputs["securityOpts"]) == (True, ["no-new-privileges"])
    assert (inputs["name"], inputs["memory"], inputs["memorySwap"]) == ("wireguard-monitoring", 512, 512)
    assert not {"privileged", "envs", "ports", "uploads", "devices", "sysctls", "command"} & set(inputs)


def test_its_only_network_is_the_site_of_its_node(engine: Engine) -> None:
    inputs = engine.find("Container", "monitoring").inputs
    assert inputs["networksAdvanced"] == [{"name": "wireguard-site-node-b", "ipv4Address": "10.64.2.249"}]
    assert inputs["dns"] == ["10.64.2.1"]


def test_its_config_comes_by_the_carrier_and_its_samples_outlive_it(engine: Engine) -> None:
    volumes = engine.find("Container", "monitoring").inputs["volumes"]
    assert [(one["volumeName"], one["containerPath"]) for one in volumes] == [
        ("wireguard-monitoring-config", "/etc/monitoring"),
        ("wireguard-monitoring-data", "/var/lib/monitoring"),
    ]
    folders = {one["containerPath"] for one in engine.find("Container", "local_config").inputs["volumes"]}
    assert "/config/monitoring" in folders


def test_whom_it_tells_of_alerts_is_a_secret(engine: Engine) -> None:
    assert not any(HOOK in text for one in engine.registered for text in plain(one.inputs))
    assert not any(HOOK in text for text in plain(engine.outputs["Stack"]))
    held = [path for one in engine.registered for path, _ in secrets(one.inputs)]
    assert held == ["uploads.0.contentBase64"]
    assert not isinstance(engine.outputs["Stack"]["monitoring"], Secret)


def test_where_it_is_is_told(engine: Engine) -> None:
    assert engine.outputs["Stack"]["monitoring"] == {
        "node": "node-b",
        "address": "10.64.2.249",
        "container": "wireguard-monitoring",
        "page": "http://monitoring.vpn.dstack:9090/user/",
        "prometheus": "http://monitoring.vpn.dstack:9090/",
    }
    assert Engine().up(DEV).outputs["Stack"].get("monitoring") is None


def test_no_node_is_another_container_for_it(engine: Engine) -> None:
    before = Engine().up(DEV)
    for name in ("node-a", "node-b", "test-client"):
        assert engine.find("Container", name).inputs == before.find("Container", name).inputs
