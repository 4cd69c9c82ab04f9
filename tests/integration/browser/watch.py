"""watch.py URL: print what the page shows as a line of JSON, with the time, whenever that changes."""

import json
import sys
import time

from session import opened

STATE = """
const shapes = [...document.querySelectorAll("svg [aria-label]")];
const texts = (id) => [...document.querySelectorAll(`#${id} li`)].map((one) => one.textContent);
return {
  summary: document.getElementById("summary").textContent,
  title: document.title,
  shapes: Object.fromEntries(shapes.map((one) => [one.ariaLabel.split(/[:(]/)[0].trim(), one.getAttribute("class")])),
  alerts: texts("alerts"),
  passes: texts("passes"),
};
"""
PAUSE = 0.2

with opened(sys.argv[1]) as page:
    said = None
    while True:
        state = page.execute_script(STATE)
        if state != said:
            print(json.dumps({"time": time.time(), **state}))
        said = state
        time.sleep(PAUSE)
