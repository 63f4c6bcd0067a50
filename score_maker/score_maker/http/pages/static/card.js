// One event: what it is, what its ratings say, and the reader's own rating.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { average, moment, momentInFull, language, t } from "./i18n.js";
import { check, clock, cross, down, up } from "./icons.js";
import { histogram } from "./histogram.js";
import { outcome } from "./outcome.js";
import { stars } from "./stars.js";
import { now } from "./time.js";

/** The phase of the event by now: an open one closes here as its deadline passes. */
export function phaseOf(event) {
  return event.phase === "open" && Date.parse(event.deadline) <= now() ? "closed" : event.phase;
}

/** `onRate(value, settleMs)`, `onWithdraw()` and `onRetry()` are what a reader can do. */
export function card(event, rating, actions) {
  const phase = phaseOf(event);
  const titleId = `title-${event.event_id}`;
  return html`
    <article class="card" data-event=${event.event_id} data-phase=${phase} aria-labelledby=${titleId}>
      <header>
        <p class="phase">${phaseLine(event, phase)}</p>
        ${statusBadge(event)}
      </header>
      <div class="what">
        <h2 id=${titleId}>${event.title}</h2>
        ${event.description ? html`<p class="description">${event.description}</p>` : nothing} ${start(event)}
      </div>
      <div class="figures">
        <p class="average">
          <span class="number">${event.average === null ? "–" : average(event.average)}</span>
          <span class="count">${event.score_count ? t("figures.count", { count: event.score_count }) : t("figures.none")}</span>
        </p>
        ${histogram(event.histogram, rating.score?.confirmed_score)}
      </div>
      ${myRating(event, phase, rating, actions)}
    </article>
  `;
}

function phaseLine(event, phase) {
  if (phase !== "open") return html`<span class="dot"></span>${t(`phase.${phase}`)}`;
  const deadline = new Date(event.deadline);
  return html`<span class="dot"></span>${t("phase.open.closes")}
    <count-down role="timer" until=${event.deadline} lang=${language()} title=${momentInFull(deadline)}></count-down>`;
}

function statusBadge(event) {
  const picture = { HIGH_SCORE: up, LOW_SCORE: down, PROCESSING: nothing }[event.status];
  return html`<p class="status" data-status=${event.status}>${picture}${t(`status.${event.status}`)}</p>`;
}

function start(event) {
  const date = new Date(event.starts_at);
  const when = html`<time datetime=${event.starts_at} title=${momentInFull(date)}>${moment(date)}</time>`;
  return html`<p class="start">${t(date <= now() ? "starts.past" : "starts.future")} ${when}</p>`;
}

function myRating(event, phase, rating, { onRate, onWithdraw, onRetry }) {
  const isOpen = phase === "open";
  const { kind, text } = outcome(rating, isOpen);
  const canWithdraw = isOpen && rating.value !== null;
  const withdraw = (click) => {
    // The button goes, and with it the focus of whoever used the keyboard.
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
      ${canWithdraw ? html`<button class="quiet" type="button" @click=${withdraw}>${t("rate.withdraw")}</button>` : nothing}
      <p class="outcome" data-kind=${kind}>
        ${{ good: check, bad: cross, wait: clock, trouble: clock }[kind] ?? nothing}<span>${text}</span>
        ${kind === "trouble" ? html`<button class="quiet" type="button" @click=${onRetry}>${t("rate.retry")}</button>` : nothing}
      </p>
    </div>
  `;
}
