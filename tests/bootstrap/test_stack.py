"""The checkout stays clean: the salt lives in a copy of the config, and is kept there."""

from pathlib import Path

import pytest

from bootstrap.failure import BootstrapError
from bootstrap.stack import Stack, salt_of

SALT = "encryptionsalt: v1:abc=:v1:def:ghi=="


@pytest.fixture
def stack(env: dict[str, str], checkout: Path) -> Stack:
    return Stack(name="dev", env={**env, "PULUMI_BACKEND_URL": "file:///somewhere"}, checkout=checkout)


def add_salt(stack: Stack) -> None:
    """What `pulumi stack init` does."""
    stack.config.write_text(f"{stack.config.read_text()}{SALT}\n")


def test_the_salt_survives_and_the_checkout_is_untouched(stack: Stack) -> None:
    before = stack.source.read_text()
    stack.render()
    assert stack.config.read_text() == before
    add_salt(stack)
    stack.render()
    stack.render()
    assert stack.config.read_text() == f"{before}{SALT}\n"
    assert stack.source.read_text() == before


def test_a_change_of_the_config_reaches_the_copy(stack: Stack) -> None:
    stack.render()
    add_salt(stack)
    stack.source.write_text("config:\n  dstack-vpn:mtu: 1400\n")
    stack.render()
    assert stack.config.read_text() == f"config:\n  dstack-vpn:mtu: 1400\n{SALT}\n"


def test_a_salt_that_the_user_committed_wins(stack: Stack) -> None:
    stack.render()
    add_salt(stack)
    stack.source.write_text("encryptionsalt: v1:mine\nconfig: {}\n")
    stack.render()
    assert salt_of(stack.config.read_text()) == "encryptionsalt: v1:mine"


def test_every_backend_has_a_salt_of_its_own(stack: Stack) -> None:
    other = Stack(name="dev", env={**stack.env, "PULUMI_BACKEND_URL": "s3://bucket"}, checkout=stack.checkout)
    assert other.config != stack.config


def test_a_stack_without_config_is_refused_with_the_fix(stack: Stack) -> None:
    other = Stack(name="prod", env=stack.env, checkout=stack.checkout)
    with pytest.raises(BootstrapError, match=r"no Pulumi\.prod\.yaml") as caught:
        other.render()
    assert "cp Pulumi.dev.yaml Pulumi.prod.yaml" in str(caught.value)
