// Changes of events as they happen: server-sent events, with polling as the fallback.
import { streamAddress } from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

/** `state` is `connecting`, `live`, `polling` (the list is reloaded every few seconds) or `offline`.
 *
 * A hidden page holds no connection: browsers allow few connections to one server, and each tab would take one. When
 * the page is shown again it resumes from its last position and receives the changes that it missed. */
export class LiveEvents {
  state = "connecting";
  #source = null;
  #position = null;
  #retry = null;
  #pauseMs = FIRST_PAUSE_MS;

  /** Calls `onEvent(event)` for each changed event and `onState()` for each new state; `reload()` reloads the list and
   * resolves to its stream position. */
  constructor({ onEvent, onState, reload }) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.reload = reload;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    addEventListener("online", () => this.#open());
    addEventListener("offline", () => this.#disconnected());
    // A page in the back-forward cache must not hold a connection.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.#open());
  }

  /** Starts at a list's stream position; later calls have no effect. */
  follow(position) {
    if (this.#position !== null) return;
    this.#position = position;
    this.#open();
  }

  #open() {
    if (this.#position === null || document.hidden) return;
    this.#close();
    const source = new EventSource(streamAddress(this.#position));
    this.#source = source;
    source.addEventListener("open", () => {
      this.#pauseMs = FIRST_PAUSE_MS;
      this.#become("live");
    });
    source.addEventListener("event", (message) => {
      this.#position = message.lastEventId;
      this.onEvent(JSON.parse(message.data));
    });
    source.addEventListener("reset", () => {
      this.#close();
      this.#restart();
    });
    source.addEventListener("error", () => this.#disconnected());
  }

  #close() {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#retry);
  }

  async #restart() {
    try {
      this.#position = await this.reload();
      this.#open();
    } catch {
      this.#disconnected();
    }
  }

  #disconnected() {
    this.#close();
    if (this.state === "live") this.#become("connecting");
    this.#retry = setTimeout(() => this.#poll(), this.#pauseMs * (0.5 + Math.random() / 2));
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
  }

  async #poll() {
    try {
      this.#position = await this.reload();
      if (this.state !== "live") this.#become("polling");
    } catch {
      this.#become("offline");
    }
    if (this.#source === null) this.#open();
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.onState();
  }
}
