// The mesh as a picture: nodes on an ellipse, neighbours by region and host. Elements stay, so that who is at one with
// the keyboard stays there.

import { aboutLink, aboutNode, stateOf } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const CENTER = { x: 400, y: 280 };
const RADIUS = { x: 300, y: 210 };
const SIZE = 20;

function made(name, attributes = {}, parent = null) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
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
    this.links = made("g", {}, svg);
    this.nodes = made("g", {}, svg);
    for (const event of ["focusin", "pointerover"]) {
      svg.addEventListener(event, ({ target }) => {
        const about = target.closest("[aria-label]")?.getAttribute("aria-label");
        if (about && target !== svg) detail.textContent = about;
      });
    }
  }

  show({ nodes, links }) {
    const places = new Map(nodes.map((node, number) => [node.name, place(number, nodes.length)]));
    const seen = new Set();
    for (const link of links) {
      const [from, to] = link.ends.map((name) => places.get(name));
      if (from && to) seen.add(this.#link(link, from, to));
    }
    for (const node of nodes) seen.add(this.#node(node, places.get(node.name)));
    for (const [key, element] of this.#elements) {
      if (!seen.has(key)) {
        element.remove();
        this.#elements.delete(key);
      }
    }
  }

  #link(link, from, to) {
    const key = `link ${link.ends.join(" ")}`;
    const group = this.#group(key, this.links, (one) => made("line", {}, one));
    // Of many links only those that need a look are stops for the keyboard; the table has all.
    set(group, { class: `link ${stateOf(link)}${link.tcp ? " tcp" : ""}`, "aria-label": aboutLink(link), tabindex: link.up ? -1 : 0 });
    set(group.querySelector("line"), { x1: from.x, y1: from.y, x2: to.x, y2: to.y });
    return key;
  }

  #node(node, at) {
    const key = `node ${node.name}`;
    const group = this.#group(key, this.nodes, (one) => {
      made("rect", { class: "shape", x: -SIZE, y: -SIZE, width: 2 * SIZE, height: 2 * SIZE }, one);
      made("text", { y: SIZE + 20 }, one).textContent = node.name;
      made("text", { y: SIZE + 36, class: "quiet" }, one).textContent = node.region || node.host;
    });
    set(group, { class: `node ${stateOf(node)}`, "aria-label": aboutNode(node), tabindex: 0, transform: `translate(${at.x} ${at.y})` });
    set(group.querySelector(".shape"), { rx: node.up ? SIZE : 0 });
    return key;
  }

  #group(key, parent, fill) {
    if (!this.#elements.has(key)) {
      const group = made("g", { role: "img" }, parent);
      fill(group);
      this.#elements.set(key, group);
    }
    return this.#elements.get(key);
  }
}

function place(number, count) {
  const angle = (2 * Math.PI * number) / count - Math.PI / 2;
  const round = (value) => Math.round(value);
  return { x: round(CENTER.x + RADIUS.x * Math.cos(angle)), y: round(CENTER.y + RADIUS.y * Math.sin(angle)) };
}
