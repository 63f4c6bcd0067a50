// The events that this page has loaded, each in its latest version.

export class Events {
  #events = new Map();
  #streamedAt = new Map();

  get(eventId) {
    return this.#events.get(eventId);
  }

  /** Stores an event that the service pushed or returned from a change: the latest version there is. */
  update(event) {
    this.#streamedAt.set(event.event_id, performance.now());
    this.#events.set(event.event_id, event);
  }

  /** Stores the events of a response, except those that the stream has updated since the request at `requestedAt`: the
   * stream's version is newer. */
  merge(events, requestedAt) {
    for (const event of events) {
      if ((this.#streamedAt.get(event.event_id) ?? -Infinity) < requestedAt) this.#events.set(event.event_id, event);
    }
  }
}
