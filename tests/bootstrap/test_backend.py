"""A user's settings are never overwritten, and a passphrase is never lost."""

import json
from pathlib import Path

import pytest

from bootstrap import backend
from bootstrap.failure import BootstrapError


def test_a_user_with_nothing_gets_a_file_backend_and_a_passphrase(env: dict[str, str]) -> None:
    added = backend.ensure(env)
    folder = Path(env["HOME"]) / ".local" / "state" / "dstack-vpn"
    assert added["PULUMI_BACKEND_URL"] == f"file://{folder}"
    assert added["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(folder / "passphrase")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_backend_a_user_set_is_left_alone(env: dict[str, str]) -> None:
    added = backend.ensure({**env, "PULUMI_BACKEND_URL": "s3://bucket"})
    assert not {"PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE"} & added.keys()
    assert not (Path(env["HOME"]) / ".local").exists()


@pytest.mark.parametrize("variable", ["", "PULUMI_HOME", "PULUMI_CREDENTIALS_PATH"])
def test_the_backend_a_user_is_logged_in_to_is_left_alone(env: dict[str, str], variable: str) -> None:
    home = Path(env["HOME"]) / (variable or ".pulumi")
    home.mkdir()
    (home / "credentials.json").write_text(json.dumps({"current": "https://api.pulumi.com"}))
    added = backend.ensure({**env, variable: str(home)} if variable else env)
    assert not {"PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE"} & added.keys()


def test_a_user_who_logged_out_has_no_backend(env: dict[str, str]) -> None:
    home = Path(env["HOME"]) / ".pulumi"
    home.mkdir()
    (home / "credentials.json").write_text(json.dumps({"current": ""}))
    assert "PULUMI_BACKEND_URL" in backend.ensure(env)


@pytest.mark.parametrize("variable", backend.PASSPHRASE)
@pytest.mark.parametrize("value", ["secret", ""])
def test_the_passphrase_a_user_set_is_left_alone(env: dict[str, str], variable: str, value: str) -> None:
    added = backend.ensure({**env, variable: value})
    assert not set(backend.PASSPHRASE) & added.keys()
    assert not list(Path(env["HOME"]).rglob("passphrase"))


def test_the_generated_passphrase_is_private_and_kept(tmp_path: Path) -> None:
    first = backend.passphrase_file(tmp_path)
    text = first.read_text()
    assert first.stat().st_mode & 0o777 == 0o600
    assert len(text) >= 40
    assert backend.passphrase_file(tmp_path).read_text() == text
    assert list(tmp_path.iterdir()) == [first]


def test_two_users_get_different_passphrases(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    assert len({backend.passphrase_file(folder).read_text() for folder in folders}) == 2


def test_a_lost_passphrase_is_not_replaced_while_a_stack_needs_it(tmp_path: Path) -> None:
    stack = tmp_path / ".pulumi" / "stacks" / "dstack-vpn" / "dev.json"
    stack.parent.mkdir(parents=True)
    stack.write_text("{}")
    with pytest.raises(BootstrapError, match="passphrase is gone") as caught:
        backend.passphrase_file(tmp_path)
    assert "put the file back" in str(caught.value)
    assert not (tmp_path / "passphrase").exists()
