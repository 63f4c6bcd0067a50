// score_maker's API. Every function answers with what the service said, or throws a Problem.
import { readClock } from "./time.js";

/** Why a request was not carried out: RFC 9457's document, or `network` where no answer came at all. */
export class Problem extends Error {
  constructor({ type, title, detail, status, errors }, retryAfterSeconds) {
    super(detail || title);
    this.name = "Problem";
    this.kind = type.split("/").pop();
    this.title = title;
    this.detail = detail;
    this.status = status;
    /** The parts of the request that are wrong: `{ part, message }`. */
    this.errors = errors ?? [];
    this.retryAfterMs = retryAfterSeconds > 0 ? retryAfterSeconds * 1_000 : null;
  }

  /** The same request may succeed later, and repeating it is safe. */
  get isTransient() {
    return this.kind === "network" || this.status === 429 || this.status >= 500;
  }
}

const NO_ANSWER = { type: "network", title: "No answer", detail: "The service cannot be reached.", status: 0 };

/** `body` is sent as JSON, a file as it is. */
export async function request(method, path, { body, headers, signal } = {}) {
  let response;
  const isJson = body !== undefined && !(body instanceof Blob);
  try {
    response = await fetch(path, {
      method,
      signal,
      headers: isJson ? { "Content-Type": "application/json", ...headers } : headers,
      body: isJson ? JSON.stringify(body) : body,
    });
    readClock(response);
    const content = response.headers.get("Content-Type") ?? "";
    const hasDocument = response.status !== 204 && /[/+]json/.test(content);
    const document = hasDocument ? await response.json() : null;
    if (response.ok) return { status: response.status, document };
    throw new Problem(
      document?.type ? document : { type: "unknown", title: response.statusText, detail: "", status: response.status },
      Number(response.headers.get("Retry-After")),
    );
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Problem(NO_ANSWER);
  }
}

const get = async (path, options) => (await request("GET", path, options)).document;

export function listEvents(parameters, signal) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));
  return get(`/events?${query}`, { signal });
}

export const getEvent = (eventId) => get(`/events/${eventId}`);

export function listScores(parameters) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));
  return get(`/scores?${query}`);
}

/** The reader's score of the event; null where there is none. */
export async function getScore(eventId) {
  try {
    return await get(`/events/${eventId}/score`);
  } catch (problem) {
    if (problem.kind === "score-not-found") return null;
    throw problem;
  }
}

// An answer in this time says what became of a rating, rather than that it is stored.
const WAIT = { Prefer: "wait=2" };

export const submitScore = async (eventId, score) =>
  (await request("POST", `/events/${eventId}/score`, { body: { score }, headers: WAIT })).document;

export async function withdrawScore(eventId) {
  try {
    return (await request("DELETE", `/events/${eventId}/score`, { headers: WAIT })).document;
  } catch (problem) {
    if (problem.kind === "score-not-found") return null;
    throw problem;
  }
}

/** Sees to it that this browser has its cookie: with it, a first rating that is repeated stays one rating. Where
 * raters sign in elsewhere there is no such cookie, and the answer to a rating says so. */
export async function keepRater() {
  try {
    await request("PUT", "/raters/cookie");
  } catch (problem) {
    if (problem.kind !== "not-found") throw problem;
  }
}

export const forgetMe = () => request("DELETE", "/scores");

export const streamAddress = (position) => `/events/stream?${new URLSearchParams({ after: position })}`;
