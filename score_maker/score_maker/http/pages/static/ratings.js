// The reader's own ratings: sends them, and follows each until it is settled.
//
// A submission is the reader's latest choice for an event, a rating or a withdrawal, that the service has not answered
// yet. Each event has one request in flight at a time, so that the service receives submissions in the order in which
// the reader made them; a submission that was replaced while it waited is never sent. Requests are retried for as long
// as that may help, which is safe once the browser has its cookie.
import * as api from "./api.js";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;
// The shortest time between two polls of a pending score, and the longest while the stream hints at no change.
const FIRST_POLL_MS = 500;
const LONGEST_POLL_MS = 5_000;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

class Rating {
  /** The latest score from the service; null if the reader has not rated. */
  score = null;
  /** `{ value, notBefore }`, with a null value for a withdrawal; null if nothing waits to be sent or answered. */
  submission = null;
  /** The transient Problem because of which the submission is being retried; null if there is none. */
  retryCause = null;
  /** The Problem with which the service refused the last submission; null if it did not. */
  refusal = null;

  /** The value to show as the reader's rating; null for none. */
  get value() {
    return this.submission ? this.submission.value : (this.score?.score ?? null);
  }

  get isPending() {
    return this.submission !== null || this.score?.state === "pending";
  }
}

/** Responses may overtake each other. Within one version, a settled score is newer than a pending one. */
function isOlder(score, known) {
  if (!known || score.version !== known.version) return known !== null && score.version < known.version;
  return score.state === "pending" && known.state !== "pending";
}

/** Dispatches `change` when the page must be rendered again, and `outcome` (with `eventId` and `rating`) when a
 * submission was stored, settled, refused or has to be retried. */
export class Ratings extends EventTarget {
  #ratings = new Map();
  #sending = new Set();
  #polling = new Map();
  #wake = new Map();
  #hasRater = false;

  /** Calls `onRefused(eventId)` after the service has refused a submission; it reloads the event and then resolves. */
  constructor({ onRefused }) {
    super();
    this.onRefused = onRefused;
    addEventListener("online", () => this.retryNow());
    addEventListener("beforeunload", (event) => {
      if (this.#sending.size) event.preventDefault();
    });
  }

  of(eventId) {
    if (!this.#ratings.has(eventId)) this.#ratings.set(eventId, new Rating());
    return this.#ratings.get(eventId);
  }

  /** Stores a score from the service, unless a newer one is known. */
  merge(eventId, score) {
    const rating = this.of(eventId);
    if (!score || isOlder(score, rating.score)) return;
    rating.score = score;
    if (score.state === "pending") this.#pollUntilSettled(eventId);
  }

  /** Submits a rating on the scale, or null to withdraw it. The choice may change for `settleMs` before it is sent. */
  rate(eventId, value, { settleMs = 0 } = {}) {
    const rating = this.of(eventId);
    rating.submission = { value, notBefore: performance.now() + settleMs };
    rating.refusal = null;
    this.#changed();
    this.#wake.get(eventId)?.();
    this.#send(eventId);
  }

  /** Retries at once every submission that waits for its next attempt. */
  retryNow() {
    this.#wake.forEach((wake) => wake());
  }

  /** Polls a pending score soon, because its event has changed. */
  pollSoon(eventId) {
    this.#polling.get(eventId)?.();
  }

  /** Erases the reader's ratings, at the service and on this page. Throws a Problem. */
  async eraseAll() {
    await api.erase();
    this.#ratings.clear();
    this.#hasRater = false;
    this.#changed();
  }

  async #send(eventId) {
    if (this.#sending.has(eventId)) return;
    this.#sending.add(eventId);
    const rating = this.of(eventId);
    let pauseMs = FIRST_PAUSE_MS;
    while (rating.submission) {
      const settleMs = rating.submission.notBefore - performance.now();
      if (settleMs > 0) {
        await this.#pause(eventId, settleMs);
        continue;
      }
      const submission = rating.submission;
      try {
        rating.score = await this.#submit(eventId, submission.value);
        rating.retryCause = null;
        if (rating.submission === submission) this.#answered(eventId);
      } catch (problem) {
        if (problem.isTransient) {
          const isFirst = rating.retryCause === null;
          rating.retryCause = problem;
          this.#changed();
          if (isFirst) this.#outcome(eventId);
          await this.#pause(eventId, problem.retryAfterMs ?? pauseMs * (0.5 + Math.random() / 2));
          pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
          continue;
        }
        rating.retryCause = null;
        await this.onRefused(eventId);
        if (rating.submission === submission) {
          rating.refusal = problem;
          this.#answered(eventId);
        }
      }
    }
    this.#sending.delete(eventId);
  }

  async #submit(eventId, value) {
    if (value === null) return api.withdrawScore(eventId);
    if (!this.#hasRater) {
      await api.ensureRater();
      this.#hasRater = true;
    }
    return api.submitScore(eventId, value);
  }

  #answered(eventId) {
    const rating = this.of(eventId);
    rating.submission = null;
    this.#changed();
    this.#outcome(eventId);
    if (rating.score?.state === "pending") this.#pollUntilSettled(eventId);
  }

  /** Polls a pending score until it is settled, or until the reader submits something new. */
  async #pollUntilSettled(eventId) {
    if (this.#polling.has(eventId)) return;
    const rating = this.of(eventId);
    let pauseMs = FIRST_POLL_MS;
    while (rating.score?.state === "pending" && !rating.submission) {
      const hinted = new Promise((resolve) => this.#polling.set(eventId, resolve));
      await sleep(FIRST_POLL_MS);
      await Promise.race([sleep(pauseMs), hinted]);
      pauseMs = Math.min(pauseMs * 2, LONGEST_POLL_MS);
      const score = await api.getScore(eventId).catch(() => rating.score);
      if (rating.submission || this.of(eventId) !== rating) break;
      rating.score = score;
      this.#changed();
      if (score?.state !== "pending") this.#outcome(eventId);
    }
    this.#polling.delete(eventId);
  }

  async #pause(eventId, milliseconds) {
    await new Promise((resolve) => {
      this.#wake.set(eventId, resolve);
      setTimeout(resolve, milliseconds);
    });
    this.#wake.delete(eventId);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #outcome(eventId) {
    this.dispatchEvent(new CustomEvent("outcome", { detail: { eventId, rating: this.of(eventId) } }));
  }
}
