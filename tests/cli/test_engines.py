"""What the SDK gets wrong of an engine's answers, and ours does not."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from vpn.engines import Engine

HIJACKED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def test_output_that_comes_with_the_headers_is_not_lost() -> None:
    """As over a slow line: both are in one packet."""

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            asked = b""
            while not asked.endswith(b"}"):  # the question's end, in JSON
                asked += connection.recv(65536)
            pieces = (b"\1\0\0\0\0\0\0\6first\n", b"\2\0\0\0\0\0\0\7second\n")
            connection.sendall(HIJACKED + b"".join(pieces))

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, server)
        with closing(Engine(f"tcp://127.0.0.1:{server.getsockname()[1]}", version="1.41", timeout=5)) as engine:
            assert engine.exec_start("x") == b"first\nsecond\n"
        served.result()
