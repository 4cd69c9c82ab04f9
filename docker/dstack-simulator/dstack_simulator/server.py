"""HTTP over a unix socket, as the guest agent speaks it."""

import json
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from dstack_simulator.guest import Guest, RefusedError

MOST_BYTES = 1 << 20  # of a question


class Server(ThreadingMixIn, UnixStreamServer):
    """Answers for one guest; a socket of an earlier life is replaced."""

    daemon_threads = True

    def __init__(self, path: Path, guest: Guest) -> None:
        path.unlink(missing_ok=True)
        super().__init__(str(path), partial(Handler, guest))


class Handler(BaseHTTPRequestHandler):
    """POST /<method> or /v0/<method> with a JSON object."""

    protocol_version = "HTTP/1.1"

    def __init__(self, guest: Guest, *arguments: Any) -> None:
        self._guest = guest
        super().__init__(*arguments)

    def do_POST(self) -> None:
        """Answer one question."""
        try:
            status, answer = HTTPStatus.OK, self._answer()
        except LookupError as error:
            status, answer = HTTPStatus.NOT_FOUND, {"error": f"Service not found: {error.args[0]}"}
        except (RefusedError, ValueError) as error:
            status, answer = HTTPStatus.BAD_REQUEST, {"error": str(error)}
        self._send(status, answer)

    def address_string(self) -> str:
        """Whoever asks has no address."""
        return "unix"

    def log_message(self, *_: Any) -> None:
        """Say nothing: a path may be secret."""

    def _answer(self) -> dict[str, Any]:
        body = self._body()
        method = self._guest.methods()[self.path.removeprefix("/v0").removeprefix("/")]
        question = json.loads(body or b"{}")
        if not isinstance(question, dict):
            raise RefusedError("the request is no object")
        return method(question)

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length", "0"))
        if not 0 <= length <= MOST_BYTES:
            self.close_connection = True
            raise RefusedError("the request is too long")
        return self.rfile.read(length)

    def _send(self, status: HTTPStatus, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        with suppress(ConnectionError):  # whoever asked may be gone
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
