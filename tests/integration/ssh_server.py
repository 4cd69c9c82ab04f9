"""An SSH server for one Docker engine: python3 -m tests.integration.ssh_server ADDRESS PORT FOLDER.

In the folder: its key, the key of who may come, and the engine's socket. The client is OpenSSH's own.
"""

import asyncio
import os
import shlex
import sys
from pathlib import Path

import asyncssh


async def main(address: str, port: str, folder: Path) -> None:
    """Serve until killed."""

    async def carry(process: asyncssh.SSHServerProcess[bytes]) -> None:
        words = shlex.split(str(process.command))
        env = {**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock"}
        pipe = asyncio.subprocess.PIPE
        local = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, env=env)
        await process.redirect(stdin=local.stdin, stdout=local.stdout)
        process.exit(await local.wait())

    keys = {"server_host_keys": [str(folder / "host_key")], "authorized_client_keys": str(folder / "client_key.pub")}
    await asyncssh.listen(address, int(port), process_factory=carry, encoding=None, **keys)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
