// The stuck messages of the outbox: which, why, and a button to retry them now.
import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { repeat } from "../vendor/lit-html/directives/repeat.js";
import { age, t } from "../i18n.js";

// A younger message without a failed attempt is simply in transit.
const USUAL_SECONDS = 10;

export const isStuck = ({ last_error, age_seconds }) => last_error !== null || age_seconds > USUAL_SECONDS;

/** Calls `onRetry(ids)`, with null for all messages; `outcome` is the result of the last retry. */
export function stuckMessages(messages, { outcome, onRetry }) {
  return html`
    <section aria-labelledby="stuck-title">
      <div class="heading">
        <h2 id="stuck-title">${t("stuck.title")}</h2>
        ${messages.length
          ? html`<button type="button" class="secondary" @click=${() => onRetry(null)}>${t("stuck.retry_all")}</button>`
          : nothing}
      </div>
      ${outcome ? html`<p class="outcome" data-kind=${outcome.kind}>${outcome.text}</p>` : nothing}
      ${messages.length
        ? html`
            <p class="note">${t("stuck.note", { seconds: USUAL_SECONDS })}</p>
            <ul class="rows" role="list">
              ${repeat(messages, ({ id }) => id, (message) => row(message, onRetry))}
            </ul>
          `
        : html`<p class="note">${t("stuck.none")}</p>`}
    </section>
  `;
}

function row(message, onRetry) {
  const submission = message.score === null ? t("stuck.withdrawal") : t("stuck.rating", { value: message.score });
  const next = message.is_claimed
    ? t("stuck.claimed")
    : message.next_attempt_in_seconds > 0
      ? t("stuck.next", { age: age(Math.ceil(message.next_attempt_in_seconds)) })
      : t("stuck.due");
  return html`
    <li class="row" data-message=${message.id}>
      <div class="about">
        <p><strong>${submission}</strong> ${t("stuck.of", { event: message.event_id })}</p>
        <p class="note">
          ${t("stuck.accepted", { age: age(message.age_seconds) })} ·
          ${t("stuck.attempts", { count: message.attempts })} · ${next}
        </p>
        ${message.last_error === null ? nothing : html`<p class="error">${message.last_error}</p>`}
      </div>
      <button
        type="button"
        class="secondary"
        aria-label=${t("stuck.retry.label", { id: message.id })}
        aria-disabled=${message.is_claimed}
        @click=${() => message.is_claimed || onRetry([message.id])}
      >
        ${t("stuck.retry")}
      </button>
    </li>
  `;
}
