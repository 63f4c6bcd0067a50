// The reader's own ratings, and what becomes of each.
//
// A wish is what the reader chose last and the service has not answered for yet. One request per event is under way at
// a time, so that the service hears wishes in the order in which they were made; a wish that was replaced meanwhile is
// never sent. Requests are repeated for as long as that may help, which is safe once the browser has its cookie.
import * as api from "./api.js";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;
// What is pending is looked at no more often than that, and seldom while nothing hints at news.
const FIRST_LOOK_MS = 500;
const LONGEST_LOOK_MS = 5_000;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

class Rating {
  /** What the service said last; null where the reader has not rated. */
  score = null;
  /** `{ value }`, with null for a withdrawal; null where nothing is wished. */
  wish = null;
  /** Why the wish has not got through so far. */
  trouble = null;
  /** Why the last wish was refused. */
  refusal = null;

  /** What to show as the reader's rating. */
  get value() {
    return this.wish ? this.wish.value : (this.score?.score ?? null);
  }

  get isPending() {
    return this.wish !== null || this.score?.state === "pending";
  }
}

/** Answers may overtake each other; within a version, what is decided is the later word. */
function isOlder(score, known) {
  if (!known || score.version !== known.version) return known !== null && score.version < known.version;
  return score.state === "pending" && known.state !== "pending";
}

/** Dispatches `change` whenever something is to be shown anew, and `outcome` (with `eventId` and `rating`) when a wish
 * was stored, decided, refused or kept waiting. */
export class Ratings extends EventTarget {
  #ratings = new Map();
  #sending = new Set();
  #looking = new Map();
  #wake = new Map();
  #hasRater = false;

  /** `onRefused(eventId)` learns what stands instead, once the service has refused a wish. */
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

  /** Takes in what the service said of a score, unless a later word is known. */
  learn(eventId, score) {
    const rating = this.of(eventId);
    if (!score || isOlder(score, rating.score)) return;
    rating.score = score;
    if (score.state === "pending") this.#lookAfter(eventId);
  }

  /** Wishes a rating of 1 to 5, or null to withdraw it. The wish may change for `settleMs` before it is sent. */
  rate(eventId, value, { settleMs = 0 } = {}) {
    const rating = this.of(eventId);
    rating.wish = { value, notBefore: performance.now() + settleMs };
    rating.refusal = null;
    this.#changed();
    this.#wake.get(eventId)?.();
    this.#send(eventId);
  }

  /** Sends what waits for its next attempt. */
  retryNow() {
    this.#wake.forEach((wake) => wake());
  }

  /** Looks soon at what became of a rating: something hints at news. */
  hint(eventId) {
    this.#looking.get(eventId)?.();
  }

  /** Deletes all of the reader's ratings, here and there. Throws a Problem. */
  async forgetAll() {
    await api.forgetMe();
    this.#ratings.clear();
    this.#hasRater = false;
    this.#changed();
  }

  async #send(eventId) {
    if (this.#sending.has(eventId)) return;
    this.#sending.add(eventId);
    const rating = this.of(eventId);
    let pauseMs = FIRST_PAUSE_MS;
    while (rating.wish) {
      const settleMs = rating.wish.notBefore - performance.now();
      if (settleMs > 0) {
        await this.#pause(eventId, settleMs);
        continue;
      }
      const wish = rating.wish;
      try {
        rating.score = await this.#submit(eventId, wish.value);
        rating.trouble = null;
        if (rating.wish === wish) this.#end(eventId);
      } catch (problem) {
        if (problem.isTransient) {
          const isNews = rating.trouble === null;
          rating.trouble = problem;
          this.#changed();
          if (isNews) this.#outcome(eventId);
          await this.#pause(eventId, problem.retryAfterMs ?? pauseMs * (0.5 + Math.random() / 2));
          pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
          continue;
        }
        rating.trouble = null;
        await this.onRefused(eventId);
        if (rating.wish === wish) {
          rating.refusal = problem;
          this.#end(eventId);
        }
      }
    }
    this.#sending.delete(eventId);
  }

  async #submit(eventId, value) {
    if (value === null) return api.withdrawScore(eventId);
    if (!this.#hasRater) {
      await api.keepRater();
      this.#hasRater = true;
    }
    return api.submitScore(eventId, value);
  }

  #end(eventId) {
    const rating = this.of(eventId);
    rating.wish = null;
    this.#changed();
    this.#outcome(eventId);
    if (rating.score?.state === "pending") this.#lookAfter(eventId);
  }

  /** Asks for a pending score until it is decided or something new is wished. */
  async #lookAfter(eventId) {
    if (this.#looking.has(eventId)) return;
    const rating = this.of(eventId);
    let pauseMs = FIRST_LOOK_MS;
    while (rating.score?.state === "pending" && !rating.wish) {
      const hinted = new Promise((resolve) => this.#looking.set(eventId, resolve));
      await sleep(FIRST_LOOK_MS);
      await Promise.race([sleep(pauseMs), hinted]);
      pauseMs = Math.min(pauseMs * 2, LONGEST_LOOK_MS);
      const score = await api.getScore(eventId).catch(() => rating.score);
      if (rating.wish || this.of(eventId) !== rating) break;
      rating.score = score;
      this.#changed();
      if (score?.state !== "pending") this.#outcome(eventId);
    }
    this.#looking.delete(eventId);
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
