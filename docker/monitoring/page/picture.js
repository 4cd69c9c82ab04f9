// The mesh as a picture: nodes on an ellipse, neighbours by region and host. Elements stay, so that who is at one with
// the keyboard stays there.

import { aboutLink, aboutNode, stateOf } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const CENTER = { x: 400, y: 280 };
const RADIUS = { x: 300, y: 210 };
const SIZES = { least: 6, most: 20 };
const FEW = 16; // nodes whose names have room below them

function made(name, attributes = {}, parent = null) {
  const element = document.createElementNS(SVG, name);
  set(element, attributes);
  parent?.append(element);
  return element;
}

function set(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (element.getAttribute(key) !== `${value}`) element.setAttribute(key, value);
  }
}

export class Picture {
  #elements = new Map();

  constructor(svg, detail) {
    this.svg = svg;
    [this.links, this.broken, this.nodes] = [0, 1, 2].map(() => made("g", {}, svg));
    for (const event of ["focusin", "pointerover"]) {
      svg.addEventListener(event, ({ target }) => {
        const about = target.closest("g[aria-label]")?.getAttribute("aria-label");
        if (about) detail.textContent = about;
      });
    }
  }

  show({ nodes, links }) {
    const places = new Map(nodes.map((node, number) => [node.name, place(number, nodes.length)]));
    this.svg.classList.toggle("many", nodes.length > FEW);
    const seen = new Set();
    for (const link of links) {
      const [from, to] = link.ends.map((name) => places.get(name));
      if (from && to) seen.add(this.#link(link, from, to));
    }
    for (const node of nodes) seen.add(this.#node(node, places.get(node.name)));
    this.#forget(seen);
  }

  #link(link, from, to) {
    const key = `link ${link.ends.join(" ")}`;
    const group = this.#group(key, (one) => made("line", {}, one));
    const layer = link.up ? this.links : this.broken; // what is broken lies above
    if (group.parentNode !== layer) layer.append(group);
    // Of many links only those that need a look are stops for the keyboard; the table has all.
    set(group, { class: `link ${stateOf(link)}${link.tcp ? " tcp" : ""}`, "aria-label": aboutLink(link), tabindex: link.up ? -1 : 0 });
    set(group.firstChild, { x1: from.x, y1: from.y, x2: to.x, y2: to.y });
    return key;
  }

  #node(node, at) {
    const key = `node ${node.name}`;
    const group = this.#group(key, (one) => {
      made("rect", { class: "shape" }, one);
      made("text", {}, one).textContent = node.name;
      made("text", { class: "quiet" }, one).textContent = node.region || node.host;
    });
    if (!group.parentNode) this.nodes.append(group);
    const [shape, name, where] = group.children;
    set(group, { class: `node ${stateOf(node)}`, "aria-label": aboutNode(node), tabindex: 0, transform: `translate(${at.x} ${at.y})` });
    set(shape, { x: -at.size, y: -at.size, width: 2 * at.size, height: 2 * at.size, rx: node.up ? at.size : 0 });
    set(name, at.label);
    set(where, at.where);
    return key;
  }

  #group(key, fill) {
    if (!this.#elements.has(key)) {
      const group = made("g", { role: "img" });
      fill(group);
      this.#elements.set(key, group);
    }
    return this.#elements.get(key);
  }

  #forget(seen) {
    for (const [key, element] of this.#elements) {
      if (seen.has(key)) continue;
      element.remove();
      this.#elements.delete(key);
    }
  }
}

function place(number, count) {
  const angle = (2 * Math.PI * number) / count - Math.PI / 2;
  const size = Math.round(Math.max(SIZES.least, Math.min(SIZES.most, 400 / count)));
  const x = Math.round(CENTER.x + RADIUS.x * Math.cos(angle));
  const y = Math.round(CENTER.y + RADIUS.y * Math.sin(angle));
  return { x, y, size, ...(count > FEW ? outward(angle, size) : aboveOrBelow(angle, size)) };
}

// Where fewer links pass.
function aboveOrBelow(angle, size) {
  const [name, where] = Math.sin(angle) < 0 ? [-size - 22, -size - 8] : [size + 20, size + 35];
  return { label: { x: 0, y: name, transform: "", "text-anchor": "middle" }, where: { y: where } };
}

// The name of one of many reads away from the middle, and never upside down.
function outward(angle, size) {
  const left = Math.cos(angle) < 0;
  const degrees = Math.round((angle * 180) / Math.PI) + (left ? 180 : 0);
  const away = size + 6;
  const label = { x: left ? -away : away, y: 4, transform: `rotate(${degrees})`, "text-anchor": left ? "end" : "start" };
  return { label, where: {} }; // which has no room
}
