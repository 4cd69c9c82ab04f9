"""A user's home and a checkout of their own for each test."""

import os
from pathlib import Path

import pytest

LOCK = "package==1 --hash=sha256:0\n"
CONFIG = "config:\n  dstack-vpn:nodes:\n    - name: node-a\n"


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user who has set nothing."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return {"HOME": str(home), "PATH": os.defpath}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the files that the bootstrap reads."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name, text in {
        "requirements.txt": LOCK,
        "requirements-dev.txt": LOCK,
        "Pulumi.yaml": "name: dstack-vpn\nruntime: python\n",
        "Pulumi.dev.yaml": CONFIG,
    }.items():
        (folder / name).write_text(text)
    return folder
