"""A wide-area network in a TUN device: python3 -m tests.integration.delay DEVICE DELAY LOSS.

Every IP packet that is routed there comes back after a delay in seconds, or never, with a probability. Not every kernel
has tc-netem(8).
"""

import asyncio
import fcntl
import os
import random
import struct
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
LONGEST = 1 << 16
READS = 64


async def main(device: str, delay: float, loss: float) -> None:
    """Run until killed."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
    loop = asyncio.get_running_loop()

    def read() -> None:
        for _ in range(READS):
            try:
                packet = os.read(tun, LONGEST)
            except BlockingIOError:
                return
            if random.random() >= loss:
                loop.call_later(delay, os.write, tun, packet)

    loop.add_reader(tun, read)
    print("up", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
