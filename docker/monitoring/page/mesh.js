// What Prometheus says of the mesh, as nodes and links. It is the same server that this page comes from.

const OF_NODES = "up|vpn_kernel|vpn_config_applied|vpn_members|vpn_member_lease_valid";
const OF_LINKS = "vpn_peer_up|vpn_peer_over_tcp|vpn_peer_round_trip_seconds|vpn:peer_handshake_age_seconds";
const EVENTS = "last_over_time({__name__=~\"vpn:member_(admitted|revoked)_timestamp_seconds\"}[1d])";
const SECONDS = 5; // to wait for an answer

async function ask(path) {
  const answer = await fetch(`../api/v1/${path}`, { cache: "no-store", signal: AbortSignal.timeout(SECONDS * 1000) });
  if (!answer.ok) throw new Error(`Prometheus says ${answer.status}`);
  return (await answer.json()).data;
}

async function samples(expression) {
  const found = await ask(`query?query=${encodeURIComponent(expression)}`);
  return found.result.map(({ metric, value }) => ({ ...metric, value: Number(value[1]) }));
}

function nodesOf(found) {
  const nodes = new Map();
  for (const { __name__: name, node, host, region, value } of found) {
    const one = nodes.get(node) ?? { name: node, host, region: region ?? "" };
    nodes.set(node, Object.assign(one, { [name]: value }));
  }
  const known = [...nodes.values()].filter((node) => "up" in node);
  return known.sort((one, other) => key(one).localeCompare(key(other)));
}

const key = ({ region, host, name }) => `${region} ${host} ${name}`;

// Both ends tell of a link; it is up when neither says otherwise.
function linksOf(found) {
  const links = new Map();
  for (const { __name__: name, node, peer, value } of found) {
    const ends = [node, peer].sort();
    const link = links.get(ends.join(" ")) ?? { ends, up: true, tcp: false };
    if (name === "vpn_peer_up") link.up &&= value === 1;
    else if (name === "vpn_peer_over_tcp") link.tcp ||= value === 1;
    else if (name === "vpn_peer_round_trip_seconds") link.roundTrip = Math.min(value, link.roundTrip ?? Infinity);
    else link.handshake = Math.min(value, link.handshake ?? Infinity);
    links.set(ends.join(" "), link);
  }
  const number = ({ up, ends }) => `${up ? 1 : 0} ${ends.join(" ")}`; // those that are down first
  return [...links.values()].sort((one, other) => number(one).localeCompare(number(other)));
}

function eventsOf(found) {
  const events = found.map(({ __name__: name, token, value }) => (
    { token, at: value, what: name.includes("admitted") ? "admitted" : "revoked" }
  ));
  return events.sort((one, other) => other.at - one.at);
}

export async function look() {
  const named = (names) => `{job="nodes",__name__=~"${names}"}`;
  const [nodes, links, events, { alerts }] = await Promise.all([
    samples(named(OF_NODES)), samples(named(OF_LINKS)), samples(EVENTS), ask("alerts"),
  ]);
  return { nodes: nodesOf(nodes), links: linksOf(links), events: eventsOf(events), alerts };
}
