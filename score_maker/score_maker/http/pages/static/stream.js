// Changes of events as they happen: server-sent events, and the list anew now and then while they cannot be had.
import { streamAddress } from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

/** `state` is `connecting`, `live`, `polling` (the list is asked for now and then) or `offline`.
 *
 * A hidden page holds no connection: browsers allow few to one server, and each tab would take one. What changed
 * meanwhile comes when it is shown again, from the position where it left off. */
export class LiveEvents {
  state = "connecting";
  #source = null;
  #position = null;
  #retry = null;
  #pauseMs = FIRST_PAUSE_MS;

  /** `onEvent(event)` and `onState()` are told; `reload()` loads what is shown anew and resolves to its position. */
  constructor({ onEvent, onState, reload }) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.reload = reload;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    addEventListener("online", () => this.#open());
    addEventListener("offline", () => this.#lost());
    // A page in the back-forward cache must not hold a connection.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.#open());
  }

  /** Follows from a list's position on; a later call changes nothing while this goes on. */
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
      this.#startAnew();
    });
    source.addEventListener("error", () => this.#lost());
  }

  #close() {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#retry);
  }

  async #startAnew() {
    try {
      this.#position = await this.reload();
      this.#open();
    } catch {
      this.#lost();
    }
  }

  #lost() {
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
