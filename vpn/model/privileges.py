"""What the containers of a mesh may do and use, whether a Docker host or a confidential VM runs them."""

TMPFS = "rw,nosuid,nodev,noexec,size=16m,mode=1777"
LOGS = {"max-size": "1m", "max-file": "2"}
NODE_MEMORY, RELAY_MEMORY, WORKLOAD_MEMORY = 256, 128, 256  # MiB

# NET_ADMIN for links, routes and filters; the others let the resolver bind port 53, become nobody and hear of reloads.
NODE_CAPABILITIES = ("NET_ADMIN", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
NODE_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.ping_group_range": "0 2147483647",  # ping without NET_RAW
}
TUN = "/dev/net/tun"

# The host has no address on the bridge of a site and does not translate its addresses: the node is the only way out.
SITE_OPTIONS = {
    "com.docker.network.bridge.inhibit_ipv4": "true",
    "com.docker.network.bridge.enable_ip_masquerade": "false",
}
