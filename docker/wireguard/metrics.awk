# Part of metrics: from what the sources say, each under a heading, to Prometheus's text format.

/^# / {
    source = $2
    lines = 0
    next
}
{ lines++ }
source == "list" && lines == 1 { relay = $2 }
source == "list" && lines > 1 {
    peer[++peers] = $1
    key[peers] = $3
    key_at[$2] = $3
    up[$3] = 0
}
source == "latest-handshakes" && $2 > 0 { handshake[$1] = $2 } # 0: never
source == "transfer" {
    received[$1] = $2
    sent[$1] = $3
}
source == "endpoints" && $2 != "(none)" {
    split($2, endpoint, ":")
    over_tcp[$1] = endpoint[1] == relay ? 1 : 0
}
source == "pings" && / bytes from / && match($0, /time=[0-9.]+/) {
    key_that_answers = key_at[substr($4, 1, length($4) - 1)] # behind the address is a colon
    up[key_that_answers] = 1
    round_trip[key_that_answers] = substr($0, RSTART + 5, RLENGTH - 5) / 1000
}
source == "denied" && $1 == "packets" { denied = $2 }
source == "times" { changed[$1] = $2 }
source == "sums" { generation[$2] = substr($1, 1, 12) }
source == "state" && /^ok, new keys wait / { waits = 1 }
source == "dataplane" { is_kernel = $1 == "kernel" }
source == "node" { node[$1] = $2 }
source == "members" && $1 ~ /^[0-9]+$/ && $3 ~ /^[0-9.]+$/ { # the gate's word: nothing else of it goes on
    token[++members] = $1
    address[members] = $3
    key_of[members] = $2
}

function family(name, type, help) { print "# HELP vpn_" name " " help "\n# TYPE vpn_" name " " type }

function gauge(name, help, value) {
    if (value == "") return
    family(name, "gauge", help)
    print "vpn_" name " " value
}

function of_peers(name, type, help, values,    at) {
    family(name, type, help)
    for (at = 1; at <= peers; at++) if (key[at] in values) print "vpn_" name "{peer=\"" peer[at] "\"} " values[key[at]]
}

function of_members(    at) {
    gauge("members", "Members that are in.", members + 0)
    gauge("member_lease_valid", "Whether the access gate's word on the members holds.", node["lease"])
    gauge("member_lease_timestamp_seconds", "When the access gate gave its word.", changed["/members/members"])
    family("member", "gauge", "A member that is in.")
    for (at = 1; at <= members; at++) print "vpn_member{token=\"" token[at] "\",address=\"" address[at] "\"} 1"
    family("member_last_handshake_timestamp_seconds", "gauge", "Last handshake with a member.")
    for (at = 1; at <= members; at++) if (key_of[at] in handshake) {
        print "vpn_member_last_handshake_timestamp_seconds{token=\"" token[at] "\"} " handshake[key_of[at]]
    }
}

END {
    wanted = generation["/etc/wireguard/SHA256SUMS"]
    applied = generation["/run/wireguard/config/SHA256SUMS"]
    gauge("look_timestamp_seconds", "When all this was found.", node["now"])
    gauge("pass_timestamp_seconds", "When the agent last compared the node with its config.", changed["/run/wireguard/state"])
    gauge("config_applied", "Whether the node is as its config volume says.", node["applied"])
    gauge("keys_wait", "Whether new keys wait for the moment when all nodes go over to theirs.", waits + 0)
    gauge("config_applied_timestamp_seconds", "When the config it goes by came.", changed["/run/wireguard/config/SHA256SUMS"])
    family("config_info", "gauge", "Generations of the config, as delivered and as the node goes by.")
    print "vpn_config_info{wanted=\"" wanted "\",applied=\"" applied "\"} 1"
    gauge("kernel", "Whether WireGuard is the kernel's, and not wireguard-go.", is_kernel + 0)
    of_peers("peer_up", "gauge", "Whether the peer answered a ping through the tunnel.", up)
    of_peers("peer_round_trip_seconds", "gauge", "How long that took.", round_trip)
    of_peers("peer_last_handshake_timestamp_seconds", "gauge", "Last handshake; none if there never was one.", handshake)
    of_peers("peer_received_bytes_total", "counter", "Bytes that came through the tunnel.", received)
    of_peers("peer_sent_bytes_total", "counter", "Bytes that went through the tunnel.", sent)
    of_peers("peer_over_tcp", "gauge", "Whether the tunnel goes over TCP, and not straight over UDP.", over_tcp)
    family("denied_packets_total", "counter", "Packets that no rule let pass.")
    print "vpn_denied_packets_total " denied + 0
    if ("lease" in node) of_members()
}
