// Looks every second, and shows what it finds; what it found last stays when there is no answer.

import { look } from "./mesh.js";
import { Picture } from "./picture.js";
import { show } from "./tables.js";
import { summary } from "./words.js";

const PAUSE = 1000; // milliseconds
const picture = new Picture(document.getElementById("picture"), document.getElementById("detail"));
let last = null;

function say(text) {
  const place = document.getElementById("summary");
  if (place.textContent !== text) place.textContent = text; // screen readers read what changes
}

async function turn() {
  try {
    const mesh = await look();
    picture.show(mesh);
    show(mesh);
    const down = [...mesh.nodes, ...mesh.links].filter((one) => !one.up).length;
    document.title = down ? `${down} down - mesh` : "Mesh";
    last = new Date();
    say(summary(mesh));
  } catch (error) {
    say(`No answer (${error.message}). ${last ? `All below is of ${last.toLocaleTimeString()}.` : ""}`);
  }
  setTimeout(turn, PAUSE);
}

turn();
