// Adding an event, or changing one: a form whose times are the operator's own.
import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { t } from "../i18n.js";
import { explain } from "../outcome.js";
import { createEvent, updateEvent } from "./api.js";

const USUAL_HOURS = 48;
const TIMES = ["starts_at", "deadline"];
const FIELDS = ["title", "description", ...TIMES];

const pad = (number) => String(number).padStart(2, "0");

/** A moment as <input type="datetime-local"> has it, to the minute. */
function local(iso) {
  const date = new Date(iso);
  const day = `${String(date.getFullYear()).padStart(4, "0")}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day}T${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

/** So that one repeated after a broken connection makes no second event. */
function newId() {
  return `ops/${[...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export class EventDialog {
  #event = null;
  #externalId = null;
  #shown = null;
  #problem = null;
  #isBusy = false;

  /** `onChange()` when it looks otherwise; `onDone(event, isNew)` once that is carried out. */
  constructor({ onChange, onDone }) {
    this.onChange = onChange;
    this.onDone = onDone;
  }

  /** For a new event where there is none. */
  open(event = null) {
    this.#event = event;
    this.#externalId = newId();
    this.#problem = null;
    this.#shown = event
      ? { ...event, starts_at: local(event.starts_at), deadline: local(event.deadline) }
      : { title: "", description: "", starts_at: "", deadline: "" };
    const { elements } = this.#form;
    for (const name of FIELDS) elements[name].value = this.#shown[name];
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
    const general = this.#problem && !FIELDS.some((name) => this.#errorOf(name)) ? explain(this.#problem) : null;
    return html`
      <dialog id="event-dialog" aria-labelledby="event-dialog-title">
        <form @submit=${(submit) => this.#submit(submit)}>
          <h2 id="event-dialog-title">${t(this.#event ? "event.edit" : "event.add")}</h2>
          ${this.#field("title", html`<input name="title" required maxlength="200" autocomplete="off" aria-describedby="title-error" />`)}
          ${this.#field("description", html`<textarea name="description" rows="3" maxlength="10000" aria-describedby="description-error"></textarea>`)}
          <div class="pair">
            ${this.#field("starts_at", html`<input type="datetime-local" name="starts_at" required aria-describedby="starts_at-error" @change=${() => this.#suggestDeadline()} />`)}
            ${this.#field("deadline", html`<input type="datetime-local" name="deadline" required aria-describedby="deadline-error" />`)}
          </div>
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

  #field(name, input) {
    const error = this.#errorOf(name);
    return html`
      <div class="field" data-invalid=${error !== undefined}>
        <label><span>${t(`event.${name}`)}</span>${input}</label>
        <p class="error" id=${`${name}-error`} role=${error ? "alert" : nothing}>${error ?? nothing}</p>
      </div>
    `;
  }

  #errorOf(name) {
    const error = this.#problem?.errors.find(({ part }) => part === `body.${name}`);
    if (!error) return undefined;
    return name === "deadline" && error.message.includes("starts_at") ? t("event.deadline.early") : error.message;
  }

  #suggestDeadline() {
    const { starts_at, deadline } = this.#form.elements;
    if (this.#event || deadline.value || !starts_at.value) return;
    deadline.value = local(new Date(starts_at.value).getTime() + USUAL_HOURS * 3_600_000);
  }

  async #submit(submit) {
    submit.preventDefault();
    if (this.#isBusy) return;
    const { elements } = this.#form;
    // What was not touched is not sent: a time here has no seconds.
    const changed = FIELDS.filter((name) => elements[name].value !== this.#shown[name]);
    if (this.#event && !changed.length) {
      this.#dialog.close();
      return;
    }
    const inUtc = (value) => new Date(value).toISOString();
    const said = Object.fromEntries(
      changed.map((name) => [name, TIMES.includes(name) ? inUtc(elements[name].value) : elements[name].value]),
    );
    this.#become({ isBusy: true, problem: null });
    try {
      const event = this.#event
        ? await updateEvent(this.#event.event_id, said)
        : await createEvent({ ...said, external_id: this.#externalId });
      this.#dialog.close();
      this.onDone(event, this.#event === null);
    } catch (problem) {
      // An earlier attempt, whose answer was lost, has made it.
      if (problem.kind === "external-id-taken") {
        this.#dialog.close();
        this.onDone(null, true);
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
