// Client of score_maker's API. Every function returns the response's document, or throws a Problem.
import { syncClock } from "./time.js";

/** Why a request failed: the RFC 9457 document of the response, or `network` if there was no response at all. */
export class Problem extends Error {
  constructor({ type, title, detail, status, errors }, retryAfterSeconds) {
    super(detail || title || `HTTP ${status}`);
    this.name = "Problem";
    this.kind = type.split("/").pop();
    this.title = title;
    this.detail = detail;
    this.status = status;
    /** The invalid parts of the request: `{ part, message }`. */
    this.errors = errors ?? [];
    this.retryAfterMs = retryAfterSeconds > 0 ? retryAfterSeconds * 1_000 : null;
  }

  /** The same request may succeed later, and repeating it is safe. */
  get isTransient() {
    return this.kind === "network" || this.status === 429 || this.status >= 500;
  }
}

const NO_RESPONSE = { type: "network", title: "No response", detail: "The service is unreachable.", status: 0 };

/** Sends `body` as JSON, or a Blob as it is. Returns `{ status, document }`; the document is null without JSON. */
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
    syncClock(response);
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
    throw new Problem(NO_RESPONSE);
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

/** The reader's score of the event, or null if there is none. */
export async function getScore(eventId) {
  try {
    return await get(`/events/${eventId}/score`);
  } catch (problem) {
    if (problem.kind === "score-not-found") return null;
    throw problem;
  }
}

// The service holds its response for up to two seconds, so that most responses already carry the verdict.
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

/** Makes sure that this browser has its cookie: a first rating that is retried then stays one rating. If raters sign in
 * with an issuer's tokens there is no such cookie, and the response to a rating says so. */
export async function ensureRater() {
  try {
    await request("PUT", "/raters/cookie");
  } catch (problem) {
    if (problem.kind !== "not-found") throw problem;
  }
}

/** Erases the reader: withdraws their open ratings and unlinks all others from them. */
export const erase = () => request("DELETE", "/scores");

export const streamAddress = (position) => `/events/stream?${new URLSearchParams({ after: position })}`;
