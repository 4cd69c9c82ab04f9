"""Carries UDP datagrams over TCP, in the wire format of Mullvad's udp-over-tcp: WireGuard where UDP is blocked.

Each datagram is preceded by its length as a 16-bit number, most significant byte first; nothing else is sent. One
thread waits for all links of a process. Linux hands over and takes datagrams in batches (UDP_GRO, UDP_SEGMENT: udp(7)),
and a batch is one write to TCP. Standard library only.
"""
