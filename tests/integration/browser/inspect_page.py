"""inspect_page.py URL: print as JSON how the page is for those who use the keyboard, in the light and in the dark."""

import json
import sys
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from session import opened

STOPS = 12
FOCUSED = """
const one = document.activeElement;
return one.ariaLabel || one.getAttribute("aria-labelledby") || one.textContent.trim();
"""
# Least ratio of luminances between a text and what is behind it (WCAG 2.2, 1.4.3).
CONTRAST = """
const channels = (color) => color.match(/[0-9.]+/g).slice(0, 3).map((one) => one / 255);
const linear = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
const luminance = (color) => {
  const [red, green, blue] = channels(color).map(linear);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const back = luminance(getComputedStyle(document.body).backgroundColor);
const ratio = (color) => {
  const [low, high] = [luminance(color), back].sort((one, other) => one - other);
  return (high + 0.05) / (low + 0.05);
};
const style = getComputedStyle(document.documentElement);
const probe = document.body.appendChild(document.createElement("span"));
const ratios = ["text", "quiet", "good", "bad", "wait", "focus"].map((name) => {
  probe.style.color = style.getPropertyValue(`--${name}`);
  return ratio(getComputedStyle(probe).color);
});
probe.remove();
return { background: getComputedStyle(document.body).backgroundColor, least: Math.min(...ratios) };
"""
ORIGINS = """return [...new Set(performance.getEntriesByType("resource").map((one) => new URL(one.name).origin))];"""
UNNAMED = """
const names = (one) => one.ariaLabel || one.getAttribute("aria-labelledby") || one.textContent.trim();
return [...document.querySelectorAll("[tabindex='0'], a")].filter((one) => !names(one)).map((one) => one.outerHTML);
"""

with opened(sys.argv[1]) as page:
    found: dict[str, Any] = {"stops": [], "details": []}
    for _ in range(STOPS):
        page.switch_to.active_element.send_keys(Keys.TAB)
        found["stops"].append(page.execute_script(FOCUSED))
        found["details"].append(page.find_element(By.ID, "detail").text)
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        found[scheme] = page.execute_script(CONTRAST)
    found["origins"] = page.execute_script(ORIGINS)
    found["unnamed"] = page.execute_script(UNNAMED)
    found["language"] = page.find_element(By.TAG_NAME, "html").get_attribute("lang")
    found["complaints"] = [entry["message"] for entry in page.get_log("browser")]
    print(json.dumps(found))
