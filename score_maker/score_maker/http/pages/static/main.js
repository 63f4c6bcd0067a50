// The page: what is known, what is shown of it, and what happens when.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import * as api from "./api.js";
import { card, phaseOf } from "./card.js";
import { Events } from "./events.js";
import { filters } from "./filters.js";
import { forgetMe } from "./forget.js";
import { banners, foot, head } from "./frame.js";
import { t } from "./i18n.js";
import { Listing } from "./listing.js";
import { explain, outcome } from "./outcome.js";
import { onSystemThemeChange } from "./preferences.js";
import { Ratings } from "./ratings.js";
import { renderer } from "./renderer.js";
import { LiveEvents } from "./stream.js";
import { addressOf, hasFilters, parametersOf, readView, withoutFilters } from "./view.js";

const PAGE_SIZE = 24;
// How long it may go unnoticed that the service does not hear of changes any more, or does again.
const STALENESS_CHECK_MS = 15_000;

let view = readView();
let isStale = false;
let forgetFailure = null;

const show = renderer(() => (view.page === "mine" ? `${t("mine.title")} · Scoreline` : "Scoreline"), page);
const events = new Events();
const ratings = new Ratings({ onRefused: fetchEvent });

const listed = new Listing({ pageSize: PAGE_SIZE, fetchPage: fetchEvents, onChange: show });
const mine = new Listing({ pageSize: PAGE_SIZE, longestPage: 200, fetchPage: fetchMine, onChange: show });
const shown = () => (view.page === "mine" ? mine : listed);

const live = new LiveEvents({
  onState: show,
  onEvent: (event) => {
    events.hear(event);
    if (ratings.of(event.event_id).isPending) ratings.hint(event.event_id);
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
  const askedAt = performance.now();
  const answer = await api.listEvents({ ...parametersOf(view), ...page }, signal);
  events.take(answer.events, askedAt);
  for (const event of answer.events) ratings.learn(event.event_id, event.my_score);
  isStale = answer.stale;
  position = answer.stream_position;
  return { items: answer.events.map((event) => event.event_id), next_cursor: answer.next_cursor };
}

/** The event anew; what is known stays where it cannot be had. */
async function fetchEvent(eventId) {
  const askedAt = performance.now();
  try {
    const event = await api.getEvent(eventId);
    events.take([event], askedAt);
    ratings.learn(eventId, event.my_score);
  } catch {
    // The stream will tell.
  }
}

async function fetchMine(page) {
  const askedAt = performance.now();
  const { scores, next_cursor } = await api.listScores(page);
  for (const score of scores) ratings.learn(score.event_id, score);
  const found = await Promise.all(scores.map((score) => api.getEvent(score.event_id).catch(nullWhereGone)));
  const there = found.filter((event) => event !== null);
  events.take(there, askedAt);
  return { items: there.map((event) => event.event_id), next_cursor };
}

function nullWhereGone(problem) {
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
        <p>${t(`${view.page}.intro`)}</p>
      </div>
      ${view.page === "mine" ? nothing : filters(view, go)} ${list(shown())}
      ${view.page === "mine" && mine.isLoaded ? forgetSection() : nothing}
    </main>
    ${foot()}
  `;
}

const isOffline = () => live.state === "offline" || (live.state !== "live" && shown().problem?.kind === "network");

function list(listing) {
  if (!listing.items.length && listing.problem) return failure(listing);
  if (!listing.items.length && listing.isLoaded) return nothingThere();
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

function nothingThere() {
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

function forgetSection() {
  return forgetMe(forgetFailure, async () => {
    try {
      await ratings.forgetAll();
      forgetFailure = null;
      announce(t("forget.done"));
      load();
    } catch (problem) {
      forgetFailure = t("forget.failed", { reason: explain(problem) });
      announce(forgetFailure);
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
  // Loaded by whatever page comes first: the stream goes on from a list's position.
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
  isStale = await api.listEvents({ limit: 1 }).then((answer) => answer.stale, () => isStale);
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

// Whoever comes near the end of the list gets more of it; the button is there for everybody else.
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
