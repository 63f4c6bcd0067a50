// The server's clock, which decides when a deadline has passed, and the countdown to one.
import { duration } from "./i18n.js";

// The header `Date` has whole seconds and a response takes a moment, so a smaller difference means nothing.
const NEGLIGIBLE_MS = 2_000;
const SOON_MS = 3_600_000;
let serverAheadMs = 0;

export const now = () => Date.now() + serverAheadMs;

/** Measures the difference between the reader's clock and the server's, by the response's `Date`. */
export function syncClock(response) {
  const serverTime = Date.parse(response.headers.get("Date") ?? "");
  if (Number.isNaN(serverTime)) return;
  const difference = serverTime - Date.now();
  serverAheadMs = Math.abs(difference) > NEGLIGIBLE_MS ? difference : 0;
}

const running = new Set();
let ticking = null;

/** `<count-down until="…">` shows the time left, updated each second, and dispatches a bubbling `elapsed` event when
 * none is left. */
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
