"""PID 1: waits for whoever ends, also for those that others left behind.

A postmaster is nobody's child but PID 1's, and Patroni waits until it is gone: as long as nobody has waited for it, it
is not.
"""

import os
import signal
from collections.abc import Callable


def run(program: Callable[[], int]) -> int:
    """Run a program as a process of its own; its exit status."""
    child = os.fork()
    if child == 0:
        os._exit(program())
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    while True:
        ended, status = os.wait()
        if ended == child:
            return os.waitstatus_to_exitcode(status)
