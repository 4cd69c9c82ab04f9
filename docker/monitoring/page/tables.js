// The same as text: what the picture shows, alerts, and who came and went. Made anew only when it differs.

import { ago, configOf, dataPlaneOf, membersOf, milliseconds, stateOf, transportOf } from "./words.js";

const MOST_EVENTS = 20;
const shown = new Map();

function made(name, text, attributes = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function replace(id, content, make) {
  const text = JSON.stringify(content);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  document.getElementById(id).replaceChildren(...make(content));
}

function table(id, heads, rows) {
  replace(id, rows, () => {
    const head = document.createElement("thead");
    head.append(row(heads.map((text) => made("th", text, { scope: "col" }))));
    const body = document.createElement("tbody");
    for (const [name, state, ...more] of rows) {
      const cells = [made("th", name, { scope: "row" }), made("td", state, { class: state })];
      body.append(row([...cells, ...more.map((text) => made("td", text))]));
    }
    return [head, body];
  });
}

function row(cells) {
  const element = document.createElement("tr");
  element.append(...cells);
  return element;
}

function list(id, entries, nothing) {
  replace(id, entries, () => {
    if (entries.length === 0) return [made("li", nothing)];
    return entries.map(([text, className]) => made("li", text, { class: className }));
  });
}

export function show({ nodes, links, events, alerts }) {
  table("nodes", ["Node", "State", "Host", "Region", "Config", "WireGuard", "Members"], nodes.map((node) => (
    [node.name, stateOf(node), node.host, node.region, configOf(node), dataPlaneOf(node), membersOf(node)]
  )));
  table("links", ["Link", "State", "Transport", "Round trip", "Last handshake"], links.map((link) => (
    [link.ends.join(" - "), stateOf(link), transportOf(link), milliseconds(link.roundTrip), ago(link.handshake)]
  )));
  list("alerts", alerts.map(({ labels, annotations, state }) => (
    [`${labels.alertname} (${state}): ${annotations.summary} ${annotations.fix}`, state]
  )).sort(), "None.");
  list("passes", events.slice(0, MOST_EVENTS).map(({ token, at, what }) => (
    [`${new Date(at * 1000).toLocaleString()}: pass ${token} ${what}`, what]
  )), "None.");
}
