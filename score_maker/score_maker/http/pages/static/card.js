// One event: its facts, its figures, and the reader's own rating. A field of an event that is added to the API is shown
// by this module and its messages alone; the operators' page imports from here what both pages show.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { average, language, moment, momentInFull, t, tOr } from "./i18n.js";
import { check, clock, cross, down, up } from "./icons.js";
import { histogram } from "./histogram.js";
import { outcome } from "./outcome.js";
import { stars } from "./stars.js";
import { now } from "./time.js";

/** The event's phase as of now: an open event becomes closed here when its deadline passes, without waiting for the
 * service to say so. */
export function phaseOf(event) {
  return event.phase === "open" && Date.parse(event.deadline) <= now() ? "closed" : event.phase;
}

/** The reader can call `onRate(value, settleMs)`, `onWithdraw()` and `onRetry()`. */
export function card(event, rating, actions) {
  const phase = phaseOf(event);
  const titleId = `title-${event.event_id}`;
  return html`
    <article class="card" data-event=${event.event_id} data-phase=${phase} aria-labelledby=${titleId}>
      <header>
        <p class="phase">${phaseLine(event, phase)}</p>
        ${statusBadge(event)}
      </header>
      <div class="facts">
        <h2 id=${titleId}>${event.title}</h2>
        ${event.description ? html`<p class="description">${event.description}</p>` : nothing}
        <p class="start">
          ${t(Date.parse(event.starts_at) <= now() ? "starts.past" : "starts.future")} ${time(event.starts_at)}
        </p>
      </div>
      <div class="figures">
        <p class="average">
          <span class="number">${event.average === null ? "–" : average(event.average)}</span>
          <span class="count">${ratingCount(event)}</span>
        </p>
        ${histogram(event.histogram, rating.score?.confirmed_score)}
      </div>
      ${myRating(event, phase, rating, actions)}
    </article>
  `;
}

export const ratingCount = ({ score_count: count }) => (count ? t("figures.count", { count }) : t("figures.none"));

export function time(iso) {
  const date = new Date(iso);
  return html`<time datetime=${iso} title=${momentInFull(date)}>${moment(date)}</time>`;
}

function phaseLine(event, phase) {
  if (phase !== "open") return html`<span class="dot"></span>${tOr(`phase.${phase}`, "phase.other")}`;
  const deadline = new Date(event.deadline);
  return html`<span class="dot"></span>${t("phase.open.closes")}
    <count-down role="timer" until=${event.deadline} lang=${language()} title=${momentInFull(deadline)}></count-down>`;
}

const STATUS_ICONS = { HIGH_SCORE: up, LOW_SCORE: down, PROCESSING: nothing };

/** Nothing for a status that this version of the page does not know: the figures below say the same. */
function statusBadge({ status }) {
  if (!(status in STATUS_ICONS)) return nothing;
  return html`<p class="status" data-status=${status}>${STATUS_ICONS[status]}${t(`status.${status}`)}</p>`;
}

const OUTCOME_ICONS = { good: check, bad: cross, wait: clock, retrying: clock };

const quietButton = (key, onClick, label = nothing) => html`
  <button class="quiet" type="button" aria-label=${label} @click=${onClick}>${t(key)}</button>
`;

function myRating(event, phase, rating, { onRate, onWithdraw, onRetry }) {
  const isOpen = phase === "open";
  const { kind, text } = outcome(rating, isOpen);
  const canWithdraw = isOpen && rating.value !== null;
  const withdraw = (click) => {
    // The button disappears, and the focus of a keyboard user would disappear with it.
    click.currentTarget.closest(".mine").querySelector("input").focus();
    onWithdraw();
  };
  return html`
    <div class="mine">
      ${stars({
        eventId: event.event_id,
        title: event.title,
        value: rating.value,
        isPending: rating.isPending,
        isDisabled: !isOpen,
        onRate,
      })}
      ${canWithdraw ? quietButton("rate.remove", withdraw, t("rate.remove.label")) : nothing}
      <p class="outcome" data-kind=${kind}>
        ${OUTCOME_ICONS[kind] ?? nothing}<span>${text}</span>
        ${kind === "retrying" ? quietButton("rate.retry", onRetry) : nothing}
      </p>
    </div>
  `;
}
