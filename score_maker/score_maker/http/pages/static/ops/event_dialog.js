// The form that adds or edits an event. Its times are in the operator's own time zone.
import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { t } from "../i18n.js";
import { explain } from "../outcome.js";
import { createEvent, updateEvent } from "./api.js";

const DEFAULT_HOURS = 48;

const TEXT = { toInput: (value) => value ?? "", toApi: (value) => value };
const TIME = { toInput: localTime, toApi: (value) => new Date(value).toISOString() };

// The rows of the form with their fields, named as in the API; the label of a field is the message `event.NAME`.
const ROWS = [
  [
    {
      name: "title",
      ...TEXT,
      input: ({ errorId }) =>
        html`<input name="title" required maxlength="200" autocomplete="off" aria-describedby=${errorId} />`,
    },
  ],
  [
    {
      name: "description",
      ...TEXT,
      input: ({ errorId }) =>
        html`<textarea name="description" rows="3" maxlength="10000" aria-describedby=${errorId}></textarea>`,
    },
  ],
  [
    {
      name: "starts_at",
      ...TIME,
      input: ({ errorId, onStart }) =>
        html`<input type="datetime-local" name="starts_at" required aria-describedby=${errorId} @change=${onStart} />`,
    },
    {
      name: "deadline",
      ...TIME,
      input: ({ errorId }) =>
        html`<input type="datetime-local" name="deadline" required aria-describedby=${errorId} />`,
      errorInWords: (message) => (message.includes("starts_at") ? t("event.deadline.early") : message),
    },
  ],
];
const FIELDS = ROWS.flat();

const pad = (number) => String(number).padStart(2, "0");

/** A moment in the format of <input type="datetime-local">, to the minute. */
function localTime(moment) {
  const date = new Date(moment);
  const day = `${String(date.getFullYear()).padStart(4, "0")}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day}T${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

/** An external id, so that a request that is repeated after a broken connection creates no second event. */
function newExternalId() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(12))];
  return `ops/${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export class EventDialog {
  #event = null;
  #externalId = null;
  #initial = null;
  #problem = null;
  #isBusy = false;

  /** Calls `onChange()` when the dialog must be rendered again, and `onDone({ event, title, isNew })` after a change;
   * the event is null if an earlier attempt created it and its response was lost. */
  constructor({ onChange, onDone }) {
    this.onChange = onChange;
    this.onDone = onDone;
  }

  /** Opens the form for the event, or for a new one if it is null. */
  open(event = null) {
    this.#event = event;
    this.#externalId = newExternalId();
    this.#problem = null;
    this.#initial = Object.fromEntries(FIELDS.map(({ name, toInput }) => [name, event ? toInput(event[name]) : ""]));
    const { elements } = this.#form;
    for (const { name } of FIELDS) elements[name].value = this.#initial[name];
    this.onChange();
    this.#dialog.showModal();
  }

  get #dialog() {
    return document.getElementById("event-dialog");
  }

  get #form() {
    return this.#dialog.querySelector("form");
  }

  view() {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const general = this.#problem && !FIELDS.some((field) => this.#errorOf(field)) ? explain(this.#problem) : null;
    return html`
      <dialog id="event-dialog" aria-labelledby="event-dialog-title">
        <form @submit=${(submit) => this.#submit(submit)}>
          <h2 id="event-dialog-title">${t(this.#event ? "event.edit" : "event.add")}</h2>
          ${ROWS.map((row) => html`<div class="pair">${row.map((field) => this.#field(field))}</div>`)}
          <p class="note">${t("event.zone", { zone })}</p>
          ${general ? html`<p class="outcome" data-kind="bad" role="alert">${general}</p>` : nothing}
          <div class="actions">
            <button type="button" class="secondary" @click=${() => this.#dialog.close()}>${t("dialog.close")}</button>
            <button aria-disabled=${this.#isBusy}>${t(this.#event ? "event.save" : "event.create")}</button>
          </div>
        </form>
      </dialog>
    `;
  }

  #field(field) {
    const { name, input } = field;
    const error = this.#errorOf(field);
    const errorId = `${name}-error`;
    return html`
      <div class="field" data-invalid=${error !== undefined}>
        <label><span>${t(`event.${name}`)}</span>${input({ errorId, onStart: () => this.#suggestDeadline() })}</label>
        <p class="error" id=${errorId} role=${error ? "alert" : nothing}>${error ?? nothing}</p>
      </div>
    `;
  }

  #errorOf({ name, errorInWords = (message) => message }) {
    const error = this.#problem?.errors.find(({ part }) => part === `body.${name}`);
    return error && errorInWords(error.message);
  }

  #suggestDeadline() {
    const { starts_at, deadline } = this.#form.elements;
    if (this.#event || deadline.value || !starts_at.value) return;
    deadline.value = localTime(new Date(starts_at.value).getTime() + DEFAULT_HOURS * 3_600_000);
  }

  async #submit(submit) {
    submit.preventDefault();
    if (this.#isBusy) return;
    const { elements } = this.#form;
    // Untouched fields are not sent: the form's times have no seconds, and would cut those of the event.
    const changed = FIELDS.filter(({ name }) => elements[name].value !== this.#initial[name]);
    if (this.#event && !changed.length) {
      this.#dialog.close();
      return;
    }
    const changes = Object.fromEntries(changed.map(({ name, toApi }) => [name, toApi(elements[name].value)]));
    const done = { title: elements.title.value, isNew: this.#event === null };
    this.#become({ isBusy: true, problem: null });
    try {
      const event = this.#event
        ? await updateEvent(this.#event.event_id, changes)
        : await createEvent({ ...changes, external_id: this.#externalId });
      this.#dialog.close();
      this.onDone({ ...done, event });
    } catch (problem) {
      // An earlier attempt created the event, and its response was lost.
      if (problem.kind === "external-id-taken") {
        this.#dialog.close();
        this.onDone({ ...done, event: null });
      } else {
        this.#become({ problem });
      }
    }
    this.#become({ isBusy: false });
  }

  #become({ isBusy = this.#isBusy, problem = this.#problem }) {
    this.#isBusy = isBusy;
    this.#problem = problem;
    this.onChange();
  }
}
