// The events as their organisers handle them: found, added, changed, cancelled, imported.
import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { repeat } from "../vendor/lit-html/directives/repeat.js";
import { phaseOf } from "../card.js";
import { average, moment, momentInFull, t } from "../i18n.js";
import { search } from "../icons.js";
import { explain } from "../outcome.js";
import { PHASES } from "../view.js";

const TYPING_RESTS_MS = 250;
let typing = null;

/** `listing` has the ids of what is shown, and `events` knows them. `onFind(changes)` of `{ q, phase }`, `onAdd()`,
 * `onImport()`, `onEdit(event)`, `onCancel(event)` and `onReload()` are what an operator can do. */
export function managedEvents({ listing, events, which, outcome, ...actions }) {
  return html`
    <div class="heading">
      ${finder(which, actions.onFind)}
      <div class="actions">
        <button type="button" @click=${actions.onAdd}>${t("manage.add")}</button>
        <button type="button" class="secondary" @click=${actions.onImport}>${t("manage.import")}</button>
      </div>
    </div>
    ${outcome ? html`<p class="outcome" data-kind=${outcome.kind}>${outcome.text}</p>` : nothing}
    ${list(listing, events, actions)}
  `;
}

function finder({ q, phase }, onFind) {
  const onType = (event) => {
    const typed = event.target.value;
    clearTimeout(typing);
    typing = setTimeout(() => onFind({ q: typed }), TYPING_RESTS_MS);
  };
  return html`
    <form class="filters" role="search" aria-label=${t("filter.label")} @submit=${(event) => event.preventDefault()}>
      <label class="search">
        <span class="visually-hidden">${t("filter.search")}</span>
        ${search}
        <input type="search" maxlength="200" autocomplete="off" placeholder=${t("filter.search")} .value=${q} @input=${onType} />
      </label>
      <label class="choice">
        <span class="visually-hidden">${t("filter.phase")}</span>
        <select @change=${(event) => onFind({ phase: event.target.value })}>
          ${PHASES.map((each) => html`<option value=${each} .selected=${live(each === phase)}>${t(`filter.phase.${each}`)}</option>`)}
        </select>
      </label>
    </form>
  `;
}

function list(listing, events, { onReload, ...actions }) {
  if (listing.problem && !listing.items.length) {
    return html`
      <div class="empty">
        <h2>${t("events.failed")}</h2>
        <p>${explain(listing.problem)}</p>
        <button type="button" @click=${onReload}>${t("events.retry")}</button>
      </div>
    `;
  }
  if (listing.isLoaded && !listing.items.length) return html`<p class="note">${t("events.none")}</p>`;
  return html`
    <ul class="rows" role="list" aria-busy=${!listing.isLoaded}>
      ${repeat(listing.items, (eventId) => eventId, (eventId) => row(events.get(eventId), actions))}
    </ul>
    ${listing.hasMore
      ? html`
          <p class="more">
            <button type="button" class="secondary" aria-disabled=${listing.isLoading} @click=${() => listing.more()}>
              ${t(listing.isLoading ? "events.loading" : "events.more")}
            </button>
          </p>
        `
      : nothing}
  `;
}

function row(event, { onEdit, onCancel }) {
  const phase = phaseOf(event);
  const isChangeable = phase === "open" || phase === "closed";
  const button = (kind, onClick) => html`
    <button type="button" class="secondary" aria-label=${t(`manage.${kind}.label`, { title: event.title })} @click=${onClick}>
      ${t(`manage.${kind}`)}
    </button>
  `;
  return html`
    <li class="row" data-event=${event.event_id} data-phase=${phase}>
      <div class="about">
        <p><strong>${event.title}</strong></p>
        <p class="note">
          #${event.event_id} · <span class="phase">${t(`filter.phase.${phase}.one`)}</span> · ${t("manage.starts")}
          ${time(event.starts_at)} · ${t("manage.deadline")} ${time(event.deadline)} ·
          ${event.score_count ? `${t("figures.count", { count: event.score_count })}, ${average(event.average)}` : t("figures.none")}
        </p>
      </div>
      ${isChangeable
        ? html`<div class="actions">${button("edit", () => onEdit(event))} ${button("cancel", () => onCancel(event))}</div>`
        : nothing}
    </li>
  `;
}

const time = (iso) => html`<time datetime=${iso} title=${momentInFull(new Date(iso))}>${moment(new Date(iso))}</time>`;
