"""The seed and every key made of it reach the engine marked as secrets, or not at all."""

from base64 import b64decode

import pytest

from tests.components.harness import Engine, Resource, Secret, plain, secrets
from tests.model.example import KEYS, MESH, SEED
from tests.model.stack_files import DEV
from vpn.model.bundle import archive
from vpn.model.hosts import LOCAL
from vpn.model.keys import Key

SEED_AND_KEYS = [
    *(KEYS.private_key(node.name, generation) for node in MESH.nodes for generation in (1, 2)),
    *(KEYS.preshared_key("node-a", "node-b", generation) for generation in (1, 2)),
]


@pytest.fixture(scope="module")
def dev() -> Engine:
    return Engine().up(DEV)


def forms(key: Key) -> list[str]:
    """How a key could be written."""
    return [key.base64(), key.raw.hex(), key.base64().rstrip("="), repr(key.raw)]


FORBIDDEN = [SEED, archive(MESH, KEYS, LOCAL), *(form for key in SEED_AND_KEYS for form in forms(key))]


def leaks(values: list[str]) -> list[str]:
    return [value for value in values if any(secret in value for secret in FORBIDDEN)]


def where(resource: Resource) -> str:
    return f"{resource.type.rsplit(':', 1)[1]} {resource.name}"


def test_the_upload_of_the_carrier_is_the_only_secret_input(dev: Engine) -> None:
    found = [(where(one), path, value) for one in dev.registered for path, value in secrets(one.inputs)]
    assert found == [("Container local_config", "uploads.0.contentBase64", archive(MESH, KEYS, LOCAL))]


def test_the_search_finds_a_key_that_is_not_marked(dev: Engine) -> None:
    (_, bundle), *_ = secrets(dev.find("Container", "local_config").inputs)
    assert leaks([bundle]) == [bundle]
    assert leaks([f"KEY={KEYS.private_key('node-a', 1).base64()}"])
    assert b64decode(bundle)[:2] == b"\x1f\x8b"


def test_no_other_input_holds_the_seed_or_a_key(dev: Engine) -> None:
    assert {where(one): found for one in dev.registered if (found := leaks(list(plain(one.inputs))))} == {}


def test_no_option_holds_the_seed_or_a_key(dev: Engine) -> None:
    assert leaks([repr(one.options) for one in dev.registered]) == []


def test_no_name_holds_the_seed_or_a_key(dev: Engine) -> None:
    assert leaks([one.urn for one in dev.registered]) == []


def test_no_output_holds_the_seed_or_a_key(dev: Engine) -> None:
    assert leaks(list(plain(dev.outputs))) == []


def test_no_output_is_secret_so_that_public_keys_can_be_read(dev: Engine) -> None:
    assert list(secrets(dev.outputs)) == []


def test_a_preview_tells_no_more() -> None:
    preview = Engine(preview=True).up(DEV)
    found = [(where(one), path) for one in preview.registered for path, _ in secrets(one.inputs)]
    assert found == [("Container local_config", "uploads.0.contentBase64")]
    assert list(secrets(preview.outputs)) == []


def test_the_seed_has_256_bits_of_letters_and_digits(dev: Engine) -> None:
    seed = dev.find("RandomPassword", "seed")
    assert seed.inputs == {"length": 43, "special": False}
    assert (26 + 26 + 10) ** 43 > 2**256


@pytest.mark.parametrize(
    ("type_", "name", "output"), [("RandomPassword", "seed", "result"), ("Container", "local_config", "uploads")]
)
def test_the_state_encrypts_the_outputs_that_hold_secrets(dev: Engine, type_: str, name: str, output: str) -> None:
    assert output in dev.find(type_, name).options.additional_secret_outputs


def test_the_seed_stays_secret_even_if_its_provider_does_not_say_so(dev: Engine) -> None:
    (upload,) = dev.find("Container", "local_config").inputs["uploads"]
    assert isinstance(upload["contentBase64"], Secret)
