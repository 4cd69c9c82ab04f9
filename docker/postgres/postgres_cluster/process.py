"""A process under a user of its own, and files for it."""

import signal
import subprocess
from pathlib import Path

RUN = Path("/run/cluster")
IDENTITY = ("authority.pem", "member.pem", "member.key")
# Root has no right here to hand over a file (CAP_CHOWN), so the file's owner makes it.
GIVE = 'umask 077; mkdir -p "${1%/*}" && cat >"$1.new" && mv "$1.new" "$1"'


class Process:
    """Runs a command as a user; told by signals that its files changed."""

    def __init__(self, user: str, *command: str, reload: signal.Signals | None = None) -> None:
        self.user = user
        self._command, self._reload = command, reload
        self._process: subprocess.Popen[bytes] | None = None
        self._given: dict[str, bytes] = {}

    def have(self, files: dict[str, bytes]) -> None:
        """Give it these files, and start it, or tell it that they changed."""
        if files == self._given:
            return
        for name, content in files.items():
            if self._given.get(name) != content:
                self.run("sh", "-c", GIVE, "sh", str(RUN / name), text=content)
        self._given = dict(files)
        if self._process is None:
            self._process = self.start(*self._command)
        elif self._reload:
            self._process.send_signal(self._reload)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command as the same user; what it prints goes to the container's log."""
        return subprocess.Popen(command, user=self.user, group=self.user, extra_groups=[])  # noqa: S603 (as below)

    def run(self, *command: str, text: bytes = b"") -> bytes:
        """Run a command as the same user; what it printed. Raises OSError with its complaint."""
        done = subprocess.run(  # noqa: S603 (its arguments are this program's own)
            command, input=text, capture_output=True, check=False, user=self.user, group=self.user, extra_groups=[]
        )
        if done.returncode:
            raise OSError(f"{command[0]} ended with status {done.returncode}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def status(self) -> int | None:
        """Exit status; None while it runs, or was never started."""
        return self._process.poll() if self._process else None

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait for its end."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait()
