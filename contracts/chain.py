#!/usr/bin/python3
"""The embedded chain: chain CAPACITY, or chain health.

Runs anvil with its state in /data, and sees to it that the access-pass contract is there, once. For development and
tests: whoever reaches port 8545 is every account, the admin included. The first contract of the first account has the
same address on every such chain.

Anvil itself answers whatever a browser sends, so a web page opened on the Docker host could let anybody in. A guard in
front of it takes only what no page can send without leave (Fetch standard, 3.2), and never gives leave.
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ARTIFACT = Path("/usr/local/share/access_pass.json")
STATE = Path("/data/state.json")
PORT = 8545
ANVIL = 8546  # reached by nobody but the guard
MAX_QUESTION = 1 << 20  # bytes
ADDRESS = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
POLL_SECONDS = 0.2
KEPT_STATES = 100  # of the newest blocks; each holds all passes, and anvil would keep every one in memory


def main(capacity: int) -> int:
    """Run until stopped; anvil's exit status."""
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    load = ["--load-state", str(STATE)] if STATE.exists() else []
    options = ["--quiet", "--port", str(ANVIL), "--prune-history", str(KEPT_STATES)]
    anvil = subprocess.Popen(["anvil", *options, *load])
    try:
        await_answer(anvil)
        deploy_once(capacity)
        guard = ThreadingHTTPServer(("0.0.0.0", PORT), Guard)
        threading.Thread(target=guard.serve_forever, daemon=True).start()
        print(f"access_pass is at {ADDRESS}", flush=True)
        keep(anvil, stop)
    finally:
        anvil.terminate()
    return anvil.wait()


class Guard(BaseHTTPRequestHandler):
    """Passes a question on to anvil, unless it may be a browser's."""

    protocol_version = "HTTP/1.1"  # connections are kept
    timeout = 60  # seconds without a question
    wbufsize = -1  # head and body in one packet: the second of two would wait 40 ms for an acknowledgement (RFC 1122)

    def do_POST(self) -> None:
        """Answer one question."""
        length = self.headers.get("Content-Length", "")
        if "Origin" in self.headers or self.headers.get_content_type() != "application/json":
            self.refuse(HTTPStatus.FORBIDDEN)
        elif not length.isdecimal() or int(length) > MAX_QUESTION:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self.answer(exchange(self.rfile.read(int(length))))

    def refuse(self, status: HTTPStatus) -> None:
        """Say no; what else comes on the connection is not read."""
        self.close_connection = True
        self.send_error(status)

    def answer(self, body: bytes) -> None:
        """Send what anvil said."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def keep(anvil: subprocess.Popen[bytes], stop: list[int]) -> None:
    """Save the state after every block, until there is a signal to stop or anvil ends.

    anvil's own --state writes into the file that it needs at the next start: who is killed meanwhile has lost it.
    """
    saved = None
    while anvil.poll() is None:
        block = call("eth_blockNumber")
        if block != saved:
            save(call("anvil_dumpState"))
            saved = block
        elif stop:
            return
        time.sleep(POLL_SECONDS)


def save(dump: str) -> None:
    """Replace the state file by a dump, which is gzip in hexadecimal, in one step."""
    new = STATE.with_suffix(".new")
    with new.open("wb") as file:
        file.write(gzip.decompress(bytes.fromhex(dump.removeprefix("0x"))))
        file.flush()
        os.fsync(file.fileno())
    new.replace(STATE)


def await_answer(anvil: subprocess.Popen[bytes]) -> None:
    """Return when the chain answers; raises OSError when anvil ends before."""
    while True:
        try:
            call("eth_chainId")
        except OSError:
            if anvil.poll() is not None:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


def deploy_once(capacity: int) -> None:
    """Put the contract on the chain unless it is there. Its constructor takes one number: 32 bytes."""
    if call("eth_getCode", ADDRESS, "latest") != "0x":
        return
    code = json.loads(ARTIFACT.read_text())["bytecode"]
    sent = call("eth_sendTransaction", {"from": call("eth_accounts")[0], "data": f"{code}{capacity:064x}"})
    while not (receipt := call("eth_getTransactionReceipt", sent)):  # it is mined a moment later
        time.sleep(POLL_SECONDS)
    if receipt["contractAddress"] != ADDRESS:
        raise SystemExit(f"the contract got {receipt['contractAddress']}; {STATE} is that of another chain")


def call(method: str, *parameters: Any) -> Any:
    """Result of one JSON-RPC call. Raises OSError when nobody answers, SystemExit when the answer is an error."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    answer = json.loads(exchange(body))
    if "error" in answer:
        raise SystemExit(f"{method}: {answer['error']}")
    return answer["result"]


def exchange(body: bytes) -> bytes:
    """Ask anvil. Raises OSError when it does not answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{ANVIL}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return bytes(response.read())


def health() -> int:
    """Health check: 0 if the chain answers and the contract is there."""
    try:
        there = call("eth_getCode", ADDRESS, "latest") != "0x"
    except OSError as error:
        print(f"the chain does not answer: {error}")
        return 1
    print("ok" if there else f"there is no contract at {ADDRESS}")
    return 0 if there else 1


if __name__ == "__main__":
    sys.exit(health() if sys.argv[1] == "health" else main(int(sys.argv[1])))
