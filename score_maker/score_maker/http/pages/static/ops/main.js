// The operators' page: holds its state, renders it, and reacts to the operator and to the service.
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
import { isToken, storeToken, token } from "./session.js";
import { signIn } from "./sign_in.js";
import { isStuck, stuckMessages } from "./stuck.js";

addMessages({ en, ru });

const POLL_SECONDS = 2;
// The sparkline covers the last two minutes.
const LONGEST_HISTORY = 120 / POLL_SECONDS;
const PAGE_SIZE = 50;
// The stream sends the events of an import one by one; the list is reloaded once for all of them.
const RELOAD_PAUSE_MS = 300;

let page = pageOfAddress();
let saga = null;
let messages = [];
let depths = [];
let isOffline = false;
let isStale = false;
let signInFailure = null;
let isSigningIn = false;
// The result of the last action on each page.
let outcomes = {};
let filter = { q: "", phase: "open" };
let position;
let newestId = 0;

const show = renderer(() => `${t(`nav.${page}`)} · Scoreline`, everything);
const events = new Events();
const listed = new Listing({ pageSize: PAGE_SIZE, fetchPage: fetchEvents, onChange: show });
const live = new LiveEvents({
  onState: show,
  onEvent: (event) => {
    events.update(event);
    // A new event may belong in the list. A changed one keeps its place, so that the operator does not lose track of
    // it.
    if (event.event_id > newestId) reloadSoon();
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
  onDone: ({ event, title, isNew }) => {
    if (event) events.update(event);
    report("manage", "good", t(isNew ? "event.created" : "event.saved", { title }));
    reloadSoon();
  },
});
const cancelDialog = new CancelDialog({
  onChange: show,
  onDone: (event) => {
    events.update(event);
    report("manage", "good", t("cancel.done", { title: event.title }));
  },
});
const importDialog = new ImportDialog({ onChange: show, onDone: reloadSoon });

function pageOfAddress() {
  return new URLSearchParams(location.search).get("page") === "manage" ? "manage" : "saga";
}

const addressOf = (target) => (target === "saga" ? location.pathname : `?page=${target}`);

async function fetchEvents(pagination, signal) {
  const requestedAt = performance.now();
  const response = await listEvents({ ...parametersOf({ ...filter, sort: "newest" }), ...pagination }, signal);
  events.merge(response.events, requestedAt);
  isStale = response.stale;
  position = response.stream_position;
  newestId = Math.max(newestId, ...response.events.map((event) => event.event_id));
  return { items: response.events.map((event) => event.event_id), next_cursor: response.next_cursor };
}

let reload = null;

function reloadSoon() {
  clearTimeout(reload);
  reload = setTimeout(() => listed.refresh().catch(() => {}), RELOAD_PAUSE_MS);
}

// Polls the saga. The next poll is scheduled when the last one has finished, so that a slow service has one at a time.
let nextPoll = null;

async function poll() {
  clearTimeout(nextPoll);
  if (token() === null || document.hidden) return;
  try {
    record(await api.getSaga());
    messages = saga.outbox?.messages ? (await api.listOutbox()).messages.filter(isStuck) : [];
    isOffline = false;
  } catch (problem) {
    if (problem.kind === "operator-token-required") signOut(t("signin.refused"));
    else isOffline = problem.kind === "network";
  }
  show();
  clearTimeout(nextPoll);
  nextPoll = setTimeout(poll, POLL_SECONDS * 1_000);
}

function record(latest) {
  saga = latest;
  if (saga.outbox !== null) depths = [...depths, saga.outbox.messages].slice(-LONGEST_HISTORY);
}

async function trySignIn(candidate) {
  isSigningIn = true;
  signInFailure = null;
  show();
  try {
    if (!isToken(candidate)) throw { kind: "operator-token-required" };
    record(await api.getSaga(candidate));
    storeToken(candidate);
    start();
  } catch (problem) {
    signInFailure = problem.kind === "operator-token-required" ? t("signin.refused") : explain(problem);
  }
  isSigningIn = false;
  show();
  document.querySelector(token() === null ? ".sign-in input" : "#main")?.focus();
}

function signOut(reason = null) {
  storeToken(null);
  saga = null;
  messages = [];
  depths = [];
  outcomes = {};
  signInFailure = reason;
  show();
}

async function start() {
  poll();
  await listed.restart();
  live.follow(position ?? "");
}

async function retry(ids) {
  try {
    // A score_maker from before an update sends `hastened` alone.
    const { hastened, rescheduled = hastened } = await api.retry(ids);
    report("saga", "good", t("stuck.retried", { count: rescheduled }));
  } catch (problem) {
    report("saga", "bad", explain(problem));
  }
  poll();
}

/** Shows the result of an action on the page where the operator took it, and announces it. */
function report(where, kind, text) {
  outcomes = { ...outcomes, [where]: { kind, text } };
  document.getElementById("announcements").textContent = text;
  show();
}

function everything() {
  const isSignedIn = token() !== null;
  return html`
    ${head({
      pages: !isSignedIn ? [] : saga?.manages_events ? ["saga", "manage"] : ["saga"],
      page,
      connection: isSignedIn ? connectionState() : null,
      addressOfPage: addressOf,
      onPage: go,
      onChange: show,
    })}
    ${banners({ isOffline, isStale: isSignedIn && page === "manage" && isStale })}
    <main id="main" class="width" tabindex="-1">
      ${isSignedIn ? signedInPage() : signIn({ failure: signInFailure, isBusy: isSigningIn, onSignIn: trySignIn })}
    </main>
    ${foot()}
  `;
}

function connectionState() {
  if (isOffline) return "offline";
  return saga === null ? "connecting" : "live";
}

function signedInPage() {
  return html`
    <div class="intro heading">
      <div>
        <h1>${t(`${page}.title`)}</h1>
        <p>${t(`${page}.intro`, { seconds: POLL_SECONDS })}</p>
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
        filter,
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
  filter = { ...filter, ...changes };
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
document.addEventListener("visibilitychange", poll);
addEventListener("online", poll);
onSystemThemeChange(show);

show();
if (token() !== null) start();
