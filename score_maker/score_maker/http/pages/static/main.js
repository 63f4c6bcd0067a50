// The public page: holds its state, renders it, and reacts to the reader and to the service.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import * as api from "./api.js";
import { card, phaseOf } from "./card.js";
import { erasure } from "./erasure.js";
import { Events } from "./events.js";
import { filters } from "./filters.js";
import { banners, foot, head } from "./frame.js";
import { t } from "./i18n.js";
import { Listing } from "./listing.js";
import { explain, outcome } from "./outcome.js";
import { onSystemThemeChange } from "./preferences.js";
import { Ratings } from "./ratings.js";
import { renderer } from "./renderer.js";
import { SCALE } from "./scale.js";
import { LiveEvents } from "./stream.js";
import { addressOf, parametersOf, readView, withoutFilters } from "./view.js";

const PAGE_SIZE = 24;
// How late the page may notice that the service has become stale, or is connected again.
const STALENESS_CHECK_MS = 15_000;

let view = readView();
let isStale = false;
let erasureFailure = null;

const show = renderer(() => (view.page === "mine" ? `${t("mine.title")} · Scoreline` : "Scoreline"), page);
const events = new Events();
const ratings = new Ratings({ onRefused: fetchEvent });

const listed = new Listing({ pageSize: PAGE_SIZE, fetchPage: fetchEvents, onChange: show });
const mine = new Listing({ pageSize: PAGE_SIZE, longestPage: 200, fetchPage: fetchMine, onChange: show });
const shown = () => (view.page === "mine" ? mine : listed);

const live = new LiveEvents({
  onState: show,
  onEvent: (event) => {
    events.update(event);
    if (ratings.of(event.event_id).isPending) ratings.pollSoon(event.event_id);
    show();
  },
  reload: async () => {
    await listed.refresh();
    if (view.page === "mine") await mine.refresh();
    return position;
  },
});
let position;

async function fetchEvents(page, signal) {
  const requestedAt = performance.now();
  const response = await api.listEvents({ ...parametersOf(view), ...page }, signal);
  events.merge(response.events, requestedAt);
  for (const event of response.events) ratings.merge(event.event_id, event.my_score);
  isStale = response.stale;
  position = response.stream_position;
  return { items: response.events.map((event) => event.event_id), next_cursor: response.next_cursor };
}

/** Reloads the event; if that fails, the page keeps the version that it has. */
async function fetchEvent(eventId) {
  const requestedAt = performance.now();
  try {
    const event = await api.getEvent(eventId);
    events.merge([event], requestedAt);
    ratings.merge(eventId, event.my_score);
  } catch {
    // The stream delivers the change later.
  }
}

async function fetchMine(page) {
  const requestedAt = performance.now();
  const { scores, next_cursor } = await api.listScores(page);
  for (const score of scores) ratings.merge(score.event_id, score);
  const found = await Promise.all(scores.map((score) => api.getEvent(score.event_id).catch(nullIfNotFound)));
  const existing = found.filter((event) => event !== null);
  events.merge(existing, requestedAt);
  return { items: existing.map((event) => event.event_id), next_cursor };
}

function nullIfNotFound(problem) {
  if (problem.kind === "event-not-found") return null;
  throw problem;
}

function page() {
  return html`
    ${head({
      pages: ["events", "mine"],
      page: view.page,
      connection: live.state,
      addressOfPage: (target) => addressOf({ ...view, page: target }),
      onPage: (target) => go({ page: target }),
      onChange: show,
    })}
    ${banners({ isOffline: isOffline(), isStale })}
    <main id="main" class="width" tabindex="-1">
      <div class="intro">
        <h1>${t(`${view.page}.title`)}</h1>
        <p>${t(`${view.page}.intro`, { lowest: SCALE.at(0), highest: SCALE.at(-1) })}</p>
      </div>
      ${view.page === "mine" ? nothing : filters(view, go)} ${list(shown())}
      ${view.page === "mine" && mine.isLoaded ? erasureSection() : nothing}
    </main>
    ${foot()}
  `;
}

const isOffline = () => live.state === "offline" || (live.state !== "live" && shown().problem?.kind === "network");

function list(listing) {
  if (!listing.items.length && listing.problem) return failure(listing);
  if (!listing.items.length && listing.isLoaded) return emptyList();
  const isWaiting = !listing.isLoaded;
  return html`
    <ul class="cards" role="list" aria-busy=${isWaiting}>
      ${isWaiting && !listing.items.length
        ? Array.from({ length: 6 }, () => html`<li class="card skeleton" aria-hidden="true"></li>`)
        : repeat(
            listing.items,
            (eventId) => eventId,
            (eventId) => html`<li>${card(events.get(eventId), ratings.of(eventId), actionsOn(eventId))}</li>`,
          )}
    </ul>
    ${listing.hasMore
      ? html`
          <p class="more">
            ${listing.problem ? html`<span>${explain(listing.problem)}</span>` : nothing}
            <button type="button" id="more" aria-disabled=${listing.isLoading} @click=${() => listing.more()}>
              ${t(listing.isLoading ? "events.loading" : "events.more")}
            </button>
          </p>
        `
      : nothing}
  `;
}

function failure(listing) {
  return html`
    <div class="empty">
      <h2>${t(view.page === "mine" ? "mine.failed" : "events.failed")}</h2>
      <p>${explain(listing.problem)}</p>
      <button type="button" @click=${() => load()}>${t("events.retry")}</button>
    </div>
  `;
}

function emptyList() {
  const isMine = view.page === "mine";
  const action = isMine
    ? html`<button type="button" @click=${() => go({ page: "events" })}>${t("mine.none.go")}</button>`
    : html`<button type="button" @click=${() => go(withoutFilters(view))}>${t("events.none.clear")}</button>`;
  return html`
    <div class="empty">
      <h2>${t(isMine ? "mine.none" : "events.none")}</h2>
      <p>${t(isMine ? "mine.none.hint" : "events.none.hint")}</p>
      ${action}
    </div>
  `;
}

function erasureSection() {
  return erasure(erasureFailure, async () => {
    try {
      await ratings.eraseAll();
      erasureFailure = null;
      announce(t("erasure.done"));
      load();
    } catch (problem) {
      erasureFailure = t("erasure.failed", { reason: explain(problem) });
      announce(erasureFailure);
      show();
    }
  });
}

function actionsOn(eventId) {
  return {
    onRate: (value, settleMs) => ratings.rate(eventId, value, { settleMs }),
    onWithdraw: () => ratings.rate(eventId, null),
    onRetry: () => ratings.retryNow(),
  };
}

function go(changes) {
  view = { ...view, ...changes };
  const isTyping = Object.keys(changes).join() === "q";
  history[isTyping ? "replaceState" : "pushState"](null, "", addressOf(view));
  load();
}

async function load() {
  show();
  await shown().restart();
  // The stream starts at a position of the events' list, so "My ratings" loads that list too if it is opened first.
  if (position === undefined && view.page === "mine") await listed.restart();
  live.follow(position ?? "");
  if (view.page === "events" && listed.isLoaded) {
    announce(t(listed.hasMore ? "events.shown_of_more" : "events.shown", { count: listed.items.length }));
  }
}

function announce(text) {
  document.getElementById("announcements").textContent = text;
}

async function checkStaleness() {
  if (document.hidden) return;
  const wasStale = isStale;
  isStale = await api.listEvents({ limit: 1 }).then((response) => response.stale, () => isStale);
  if (isStale !== wasStale) show();
}

ratings.addEventListener("change", show);
ratings.addEventListener("outcome", ({ detail: { eventId, rating } }) => {
  const event = events.get(eventId);
  announce(t("rate.announcement", { title: event.title, outcome: outcome(rating, phaseOf(event) === "open").text }));
});
addEventListener("elapsed", show);
addEventListener("popstate", () => {
  view = readView();
  load();
});
onSystemThemeChange(show);
setInterval(checkStaleness, STALENESS_CHECK_MS);

// Loads more when the reader scrolls near the end of the list. The button serves those who do not scroll.
const nearTheEnd = new IntersectionObserver(
  (entries) => {
    if (entries.some((entry) => entry.isIntersecting) && !shown().problem) shown().more();
  },
  { rootMargin: "400px" },
);
new MutationObserver(() => {
  nearTheEnd.disconnect();
  const more = document.getElementById("more");
  if (more) nearTheEnd.observe(more);
}).observe(document.getElementById("app"), { childList: true, subtree: true });

load();
