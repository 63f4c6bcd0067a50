// The events for their organisers: find, add, edit, cancel, import.
import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { repeat } from "../vendor/lit-html/directives/repeat.js";
import { phaseOf, ratingCount, time } from "../card.js";
import { afterTyping } from "../debounce.js";
import { average, t, tOr } from "../i18n.js";
import { search } from "../icons.js";
import { explain } from "../outcome.js";
import { PHASES } from "../view.js";

/** `listing` holds the ids of the listed events, and `events` the events themselves; `outcome` is the result of the
 * last action. The operator can call `onFind(changes)` with changes of `{ q, phase }`, `onAdd()`, `onImport()`,
 * `onEdit(event)`, `onCancel(event)` and `onReload()`. */
export function managedEvents({ listing, events, filter, outcome, ...actions }) {
  return html`
    <div class="heading">
      ${finder(filter, actions.onFind)}
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
    afterTyping(() => onFind({ q: typed }));
  };
  return html`
    <form class="filters" role="search" aria-label=${t("filter.label")} @submit=${(event) => event.preventDefault()}>
      <label class="search">
        <span class="visually-hidden">${t("filter.search")}</span>
        ${search}
        <input
          type="search"
          maxlength="200"
          autocomplete="off"
          placeholder=${t("filter.search")}
          .value=${q}
          @input=${onType}
        />
      </label>
      <label class="choice">
        <span class="visually-hidden">${t("filter.phase")}</span>
        <select @change=${(event) => onFind({ phase: event.target.value })}>
          ${PHASES.map(
            (each) => html`
              <option value=${each} .selected=${live(each === phase)}>${t(`filter.phase.${each}`)}</option>
            `,
          )}
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
  const phaseInWords = tOr(`filter.phase.${phase}.one`, "filter.phase.other.one");
  const isEditable = phase === "open" || phase === "closed";
  const button = (kind, onClick) => html`
    <button
      type="button"
      class="secondary"
      aria-label=${t(`manage.${kind}.label`, { title: event.title })}
      @click=${onClick}
    >
      ${t(`manage.${kind}`)}
    </button>
  `;
  return html`
    <li class="row" data-event=${event.event_id} data-phase=${phase}>
      <div class="about">
        <p><strong>${event.title}</strong></p>
        <p class="note">
          #${event.event_id} · <span class="phase">${phaseInWords}</span> ·
          ${t("manage.starts")} ${time(event.starts_at)} · ${t("manage.deadline")} ${time(event.deadline)} ·
          ${ratingCount(event)}${event.average === null ? "" : `, ${average(event.average)}`}
        </p>
      </div>
      ${isEditable
        ? html`
            <div class="actions">${button("edit", () => onEdit(event))} ${button("cancel", () => onCancel(event))}</div>
          `
        : nothing}
    </li>
  `;
}
