// The server's clock, by which deadlines pass, and the time that is left until one.
import { duration } from "./i18n.js";

// The header `Date` has whole seconds, and an answer takes a moment: less than this says nothing.
const NEGLIGIBLE_MS = 2_000;
const SOON_MS = 3_600_000;
let ahead = 0;

export const now = () => Date.now() + ahead;

/** Learns how far the reader's clock is from the server's. */
export function readClock(response) {
  const there = Date.parse(response.headers.get("Date") ?? "");
  if (Number.isNaN(there)) return;
  const difference = there - Date.now();
  ahead = Math.abs(difference) > NEGLIGIBLE_MS ? difference : 0;
}

const running = new Set();
let ticking = null;

/** `<count-down until="…">`: the time left, each second; at its end a bubbling `elapsed` event. */
class CountDown extends HTMLElement {
  static observedAttributes = ["until", "lang"];

  connectedCallback() {
    running.add(this);
    ticking ??= setInterval(() => running.forEach((each) => each.tick()), 1_000);
    this.tick();
  }

  disconnectedCallback() {
    running.delete(this);
    if (running.size) return;
    clearInterval(ticking);
    ticking = null;
  }

  attributeChangedCallback() {
    if (this.isConnected) this.tick();
  }

  tick() {
    const left = Date.parse(this.getAttribute("until")) - now();
    const text = duration(left);
    if (text !== this.textContent) this.textContent = text;
    this.toggleAttribute("data-soon", left < SOON_MS);
    if (left <= 0) this.dispatchEvent(new Event("elapsed", { bubbles: true }));
  }
}

customElements.define("count-down", CountDown);
