// The operators' page: what is known, what is shown of it, and what happens when.
import { html } from "../vendor/lit-html/lit-html.js";
import { listEvents } from "../api.js";
import { Events } from "../events.js";
import { banners, foot, head } from "../frame.js";
import { addMessages, t } from "../i18n.js";
import { Listing } from "../listing.js";
import { explain } from "../outcome.js";
import { onSystemThemeChange } from "../preferences.js";
import { renderer } from "../renderer.js";
import { LiveEvents } from "../stream.js";
import { parametersOf } from "../view.js";
import * as api from "./api.js";
import { CancelDialog } from "./cancel_dialog.js";
import { EventDialog } from "./event_dialog.js";
import { ImportDialog } from "./import_dialog.js";
import { managedEvents } from "./manage.js";
import en from "./messages/en.js";
import ru from "./messages/ru.js";
import { sagaFigures } from "./saga.js";
import { isToken, keepToken, token } from "./session.js";
import { signIn } from "./sign_in.js";
import { isStuck, stuckMessages } from "./stuck.js";

addMessages({ en, ru });

const LOOK_EVERY_MS = 2_000;
// The last two minutes.
const LONGEST_HISTORY = 60;
const PAGE_SIZE = 50;
// The many events of an import come one by one.
const NEWS_REST_MS = 300;

let page = pageOfAddress();
let saga = null;
let messages = [];
let depths = [];
let isOffline = false;
let isStale = false;
let signInFailure = null;
let isSigningIn = false;
// What the last action came to, on the page where it was done.
let outcomes = {};
let which = { q: "", phase: "open" };
let position;
let newestId = 0;

const show = renderer(() => `${t(`nav.${page}`)} · Scoreline`, whole);
const events = new Events();
const listed = new Listing({ pageSize: PAGE_SIZE, fetchPage: fetchEvents, onChange: show });
const live = new LiveEvents({
  onState: show,
  onEvent: (event) => {
    events.hear(event);
    // A new one may have its place in the list. One that changes keeps its own, so that nobody loses sight of it.
    if (event.event_id > newestId) refreshSoon();
    newestId = Math.max(newestId, event.event_id);
    show();
  },
  reload: async () => {
    await listed.refresh();
    return position;
  },
});

const eventDialog = new EventDialog({
  onChange: show,
  onDone: (event, isNew) => {
    if (event) events.hear(event);
    tell("manage", "good", t(isNew ? "event.created" : "event.saved"));
    refreshSoon();
  },
});
const cancelDialog = new CancelDialog({
  onChange: show,
  onDone: (event) => {
    events.hear(event);
    tell("manage", "good", t("cancel.done", { title: event.title }));
  },
});
const importDialog = new ImportDialog({ onChange: show, onDone: refreshSoon });

function pageOfAddress() {
  return new URLSearchParams(location.search).get("page") === "manage" ? "manage" : "saga";
}

const addressOf = (target) => (target === "saga" ? location.pathname : `?page=${target}`);

async function fetchEvents(part, signal) {
  const askedAt = performance.now();
  const answer = await listEvents({ ...parametersOf({ ...which, sort: "newest" }), ...part }, signal);
  events.take(answer.events, askedAt);
  isStale = answer.stale;
  position = answer.stream_position;
  newestId = Math.max(newestId, ...answer.events.map((event) => event.event_id));
  return { items: answer.events.map((event) => event.event_id), next_cursor: answer.next_cursor };
}

let news = null;

function refreshSoon() {
  clearTimeout(news);
  news = setTimeout(() => listed.refresh().catch(() => {}), NEWS_REST_MS);
}

// Looking at the saga, one look after another.
let next = null;

async function look() {
  clearTimeout(next);
  if (token() === null || document.hidden) return;
  try {
    take(await api.getSaga());
    messages = saga.outbox?.messages ? (await api.listOutbox()).messages.filter(isStuck) : [];
    isOffline = false;
  } catch (problem) {
    if (problem.kind === "operator-token-required") signOut(t("signin.refused"));
    else isOffline = problem.kind === "network";
  }
  show();
  clearTimeout(next);
  next = setTimeout(look, LOOK_EVERY_MS);
}

function take(seen) {
  saga = seen;
  if (saga.outbox !== null) depths = [...depths, saga.outbox.messages].slice(-LONGEST_HISTORY);
}

async function tryToken(given) {
  isSigningIn = true;
  signInFailure = null;
  show();
  try {
    if (!isToken(given)) throw { kind: "operator-token-required" };
    take(await api.getSaga(given));
    keepToken(given);
    start();
  } catch (problem) {
    signInFailure = problem.kind === "operator-token-required" ? t("signin.refused") : explain(problem);
  }
  isSigningIn = false;
  show();
  document.querySelector(token() === null ? ".sign-in input" : "#main")?.focus();
}

function signOut(reason = null) {
  keepToken(null);
  saga = null;
  messages = [];
  depths = [];
  outcomes = {};
  signInFailure = reason;
  show();
}

async function start() {
  look();
  await listed.restart();
  live.follow(position ?? "");
}

async function retry(ids) {
  try {
    const { hastened } = await api.retry(ids);
    tell("saga", "good", t("stuck.hastened", { count: hastened }));
  } catch (problem) {
    tell("saga", "bad", explain(problem));
  }
  look();
}

function tell(where, kind, text) {
  outcomes = { ...outcomes, [where]: { kind, text } };
  document.getElementById("announcements").textContent = text;
  show();
}

function whole() {
  const isIn = token() !== null;
  return html`
    ${head({
      pages: !isIn ? [] : saga?.manages_events ? ["saga", "manage"] : ["saga"],
      page,
      connection: isIn ? connectionState() : null,
      addressOfPage: addressOf,
      onPage: go,
      onChange: show,
    })}
    ${banners({ isOffline, isStale: isIn && page === "manage" && isStale })}
    <main id="main" class="width" tabindex="-1">
      ${isIn ? inside() : signIn({ failure: signInFailure, isBusy: isSigningIn, onSignIn: tryToken })}
    </main>
    ${foot()}
  `;
}

function connectionState() {
  if (isOffline) return "offline";
  return saga === null ? "connecting" : "live";
}

function inside() {
  return html`
    <div class="intro heading">
      <div>
        <h1>${t(`${page}.title`)}</h1>
        <p>${t(`${page}.intro`)}</p>
      </div>
      <button type="button" class="quiet" @click=${() => signOut()}>${t("signin.out")}</button>
    </div>
    <div ?hidden=${page !== "saga"}>
      ${saga === null
        ? html`<p class="note">${t("events.loading")}</p>`
        : html`${sagaFigures(saga, depths)} ${stuckMessages(messages, { outcome: outcomes.saga, onRetry: retry })}`}
    </div>
    <div ?hidden=${page !== "manage"}>
      ${managedEvents({
        listing: listed,
        events,
        which,
        outcome: outcomes.manage,
        onFind: find,
        onAdd: () => eventDialog.open(),
        onImport: () => importDialog.open(),
        onEdit: (event) => eventDialog.open(event),
        onCancel: (event) => cancelDialog.open(event),
        onReload: () => listed.restart(),
      })}
    </div>
    ${eventDialog.view()} ${cancelDialog.view()} ${importDialog.view()}
  `;
}

function find(changes) {
  which = { ...which, ...changes };
  listed.restart();
}

function go(target) {
  page = target;
  outcomes = {};
  history.pushState(null, "", addressOf(target));
  show();
}

addEventListener("popstate", () => {
  page = pageOfAddress();
  show();
});
document.addEventListener("visibilitychange", look);
addEventListener("online", look);
onSystemThemeChange(show);

show();
if (token() !== null) start();
