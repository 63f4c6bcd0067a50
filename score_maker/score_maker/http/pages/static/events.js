// The events that this page knows of, each as it was heard last.

export class Events {
  #events = new Map();
  #heardAt = new Map();

  get(eventId) {
    return this.#events.get(eventId);
  }

  /** An event from the stream. */
  hear(event) {
    this.#heardAt.set(event.event_id, performance.now());
    this.#events.set(event.event_id, event);
  }

  /** Events of an answer that was asked for at `askedAt`: what the stream has said since then is newer. */
  take(events, askedAt) {
    for (const event of events) {
      if ((this.#heardAt.get(event.event_id) ?? -Infinity) < askedAt) this.#events.set(event.event_id, event);
    }
  }
}
