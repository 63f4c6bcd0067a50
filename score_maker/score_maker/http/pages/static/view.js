// The current view. The page's address encodes it, so that a view can be shared, bookmarked and returned to.

export const PHASES = ["open", "closed", "final", "cancelled", "all"];
export const STATUSES = ["", "HIGH_SCORE", "LOW_SCORE", "PROCESSING"];
export const SORTS = ["deadline", "starts_at", "top", "count", "newest"];

const DEFAULT = { page: "events", q: "", phase: "open", status: "", sort: "deadline" };
const ALLOWED = { page: ["events", "mine"], phase: PHASES, status: STATUSES, sort: SORTS };

/** The view of the current address; unknown values are replaced by the defaults. */
export function readView() {
  const parameters = new URLSearchParams(location.search);
  const view = { ...DEFAULT };
  for (const name of Object.keys(DEFAULT)) {
    const value = parameters.get(name);
    if (value !== null && (ALLOWED[name]?.includes(value) ?? true)) view[name] = value.slice(0, 200);
  }
  return view;
}

/** The view's address, without the parameters that have their default value. */
export function addressOf(view) {
  const changed = Object.entries(view).filter(([name, value]) => value !== DEFAULT[name]);
  const query = new URLSearchParams(changed).toString();
  return query ? `?${query}` : location.pathname;
}

export const withoutFilters = (view) => ({ ...DEFAULT, page: view.page, sort: view.sort, phase: "all" });

/** The view as parameters of GET /events. */
export function parametersOf({ q, phase, status, sort }) {
  return { q: q.trim(), phase: phase === "all" ? "" : phase, status, sort };
}
