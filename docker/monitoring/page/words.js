// How a state is put into words, for tables, the picture and screen readers alike.

export const milliseconds = (seconds) => (seconds === undefined ? "" : `${(seconds * 1000).toFixed(1)} ms`);

export function ago(seconds) {
  if (seconds === undefined) return "never";
  return seconds < 120 ? `${Math.max(0, Math.round(seconds))} s ago` : `${Math.round(seconds / 60)} min ago`;
}

export const stateOf = (one) => (one.up ? "up" : "down");
export const transportOf = (link) => (link.tcp ? "TCP" : "UDP");

export function configOf(node) {
  if (!node.up || node.vpn_config_applied === undefined) return "";
  return node.vpn_config_applied ? "applied" : "not applied";
}

export function dataPlaneOf(node) {
  if (node.vpn_kernel === undefined) return "";
  return node.vpn_kernel ? "kernel" : "userspace";
}

export function membersOf(node) {
  if (node.vpn_members === undefined) return "";
  return node.vpn_member_lease_valid ? `${node.vpn_members}` : "none: lease expired";
}

export function aboutNode(node) {
  const where = [node.host, node.region].filter(Boolean).join(", ");
  return `Node ${node.name} (${where}): ${stateOf(node)}${node.up ? `, config ${configOf(node)}` : ""}`;
}

export function aboutLink(link) {
  const more = link.up ? `, ${milliseconds(link.roundTrip)}` : "";
  return `Link ${link.ends.join(" - ")}: ${stateOf(link)}, ${transportOf(link)}${more}, handshake ${ago(link.handshake)}`;
}

export function summary({ nodes, links }) {
  const part = (ones, what) => `${ones.filter((one) => one.up).length} of ${ones.length} ${what} up`;
  return `${part(nodes, "nodes")}, ${part(links, "links")}`;
}
