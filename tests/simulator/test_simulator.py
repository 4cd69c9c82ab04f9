"""The program: a socket that answers, and files that say whom to trust."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dcap_qvl
from dstack_sdk import DstackClient

from tests.model.stack_files import PROJECT
from tests.simulator.guests import APP_ID, COMPOSE

PACKAGE = PROJECT / "docker" / "dstack-simulator"


@contextmanager
def started(folder: Path) -> Iterator[subprocess.Popen[str]]:
    (folder / "app-compose.json").write_text(COMPOSE.text())
    options = {
        "socket": folder / "dstack.sock",
        "app-compose": folder / "app-compose.json",
        "app-id": APP_ID.hex(),
        "seed": "tests",
        "trust": folder,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "dstack_simulator", *arguments]
    with subprocess.Popen(command, cwd=PACKAGE, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.terminate()


def test_its_quotes_are_right_to_whoever_trusts_its_root(tmp_path: Path) -> None:
    with started(tmp_path) as program:
        assert program.stdout
        assert COMPOSE.compose_hash() in program.stdout.readline()
        client = DstackClient(str(tmp_path / "dstack.sock"))
        with client:
            quote = client.get_quote(b"x").decode_quote()
    assert program.returncode == 0
    collateral = dcap_qvl.QuoteCollateralV3.from_json((tmp_path / "collateral.json").read_text())
    root = (tmp_path / "root.der").read_bytes()
    assert dcap_qvl.verify_with_root_ca(quote, collateral, root, int(time.time())).status == "UpToDate"


def test_an_app_id_of_another_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app-compose.json").write_text(json.dumps({}))
    command = [sys.executable, "-m", "dstack_simulator", "--app-compose=x", "--seed=x", "--app-id=00"]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "an app ID has 20 bytes, not 1" in done.stderr
