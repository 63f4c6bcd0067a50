// Cancels an event, after a confirmation.
import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { t } from "../i18n.js";
import { explain } from "../outcome.js";
import { cancelEvent } from "./api.js";

export class CancelDialog {
  #event = null;
  #problem = null;
  #isBusy = false;

  /** Calls `onChange()` when the dialog must be rendered again, and `onDone(event)` with the cancelled event. */
  constructor({ onChange, onDone }) {
    this.onChange = onChange;
    this.onDone = onDone;
  }

  open(event) {
    this.#event = event;
    this.#problem = null;
    this.onChange();
    this.#dialog.showModal();
  }

  get #dialog() {
    return document.getElementById("cancel-dialog");
  }

  view() {
    return html`
      <dialog id="cancel-dialog" aria-labelledby="cancel-question" aria-describedby="cancel-consequence">
        <form @submit=${(submit) => this.#submit(submit)}>
          <h2 id="cancel-question">${t("cancel.question", { title: this.#event?.title ?? "" })}</h2>
          <p id="cancel-consequence">${t("cancel.consequence")}</p>
          ${this.#problem
            ? html`<p class="outcome" data-kind="bad" role="alert">${explain(this.#problem)}</p>`
            : nothing}
          <div class="actions">
            <button type="button" autofocus @click=${() => this.#dialog.close()}>${t("cancel.no")}</button>
            <button class="danger" aria-disabled=${this.#isBusy}>${t("cancel.yes")}</button>
          </div>
        </form>
      </dialog>
    `;
  }

  async #submit(submit) {
    submit.preventDefault();
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.onChange();
    try {
      const event = await cancelEvent(this.#event.event_id);
      this.#dialog.close();
      this.onDone(event);
    } catch (problem) {
      this.#problem = problem;
    }
    this.#isBusy = false;
    this.onChange();
  }
}
