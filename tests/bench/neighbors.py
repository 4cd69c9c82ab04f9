"""Room in the kernel's neighbor table (arp(7)): one for all containers, and N nodes on one host fill N(N-1) entries."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.shell import say

TABLE = Path("/proc/sys/net/ipv4/neigh/default")
LIMITS = ("gc_thresh3", "gc_thresh2")  # the hard one first: the soft one is not to be above it


@contextmanager
def room(nodes: int) -> Iterator[None]:
    """Raise the table's limits while a mesh of so many nodes is measured; as they were afterwards."""
    with ExitStack() as undo:
        for limit in LIMITS:
            _at_least(2 * nodes * nodes, TABLE / limit, undo)
        yield


def _at_least(entries: int, limit: Path, undo: ExitStack) -> None:
    now = limit.read_text()
    if int(now) >= entries:
        return
    try:
        limit.write_text(str(entries))
    except OSError as error:
        say(f"{limit.name} stays at {now.strip()} ({error.strerror}): 33 nodes or more need more")
    else:
        undo.callback(limit.write_text, now)
