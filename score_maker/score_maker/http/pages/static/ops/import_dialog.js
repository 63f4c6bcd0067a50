// Imports a file of events, and reports how many of its rows were added or skipped, and why.
import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { t } from "../i18n.js";
import { explain } from "../outcome.js";
import { importFile } from "./api.js";

const LARGEST_BYTES = 1024 * 1024;

export class ImportDialog {
  #report = null;
  #failure = null;
  #isBusy = false;

  /** Calls `onChange()` when the dialog must be rendered again, and `onDone()` after an import that added events. */
  constructor({ onChange, onDone }) {
    this.onChange = onChange;
    this.onDone = onDone;
  }

  open() {
    this.#report = null;
    this.#failure = null;
    this.#dialog.querySelector("form").reset();
    this.onChange();
    this.#dialog.showModal();
  }

  get #dialog() {
    return document.getElementById("import-dialog");
  }

  view() {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    return html`
      <dialog id="import-dialog" aria-labelledby="import-title">
        <form @submit=${(submit) => this.#submit(submit)}>
          <h2 id="import-title">${t("import.title")}</h2>
          <p>${t("import.text")}</p>
          <label class="field"><span>${t("import.file")}</span><input type="file" name="file" required /></label>
          <div class="pair">
            <label class="field">
              <span>${t("import.hours")}</span>
              <input type="number" name="rate_for_hours" value="48" min="0" max="87600" step="any" required />
            </label>
            <label class="field">
              <span>${t("import.zone")}</span>
              <input name="timezone" value=${zone} required maxlength="100" autocomplete="off" spellcheck="false" />
            </label>
          </div>
          <label class="field">
            <span>${t("import.source")}</span>
            <input name="source_name" maxlength="200" autocomplete="off" />
          </label>
          <div role="status">
            ${this.#failure ? html`<p class="outcome" data-kind="bad">${this.#failure}</p>` : nothing}
            ${this.#report ? report(this.#report) : nothing}
          </div>
          <div class="actions">
            <button type="button" class="secondary" @click=${() => this.#dialog.close()}>${t("dialog.close")}</button>
            <button aria-disabled=${this.#isBusy}>${t(this.#isBusy ? "import.busy" : "import.go")}</button>
          </div>
        </form>
      </dialog>
    `;
  }

  async #submit(submit) {
    submit.preventDefault();
    if (this.#isBusy) return;
    const { file, rate_for_hours, timezone, source_name } = submit.currentTarget.elements;
    this.#report = null;
    this.#failure = null;
    if (file.files[0].size > LARGEST_BYTES) {
      this.#failure = t("import.too_large");
      this.onChange();
      return;
    }
    this.#isBusy = true;
    this.onChange();
    try {
      this.#report = await importFile(file.files[0], {
        rate_for_hours: rate_for_hours.value,
        timezone: timezone.value.trim(),
        source_name: source_name.value.trim(),
      });
      if (this.#report.created) this.onDone();
    } catch (problem) {
      const [error] = problem.errors ?? [];
      this.#failure = error ? t("import.refused", { reason: error.message }) : explain(problem);
    }
    this.#isBusy = false;
    this.onChange();
  }
}

function report({ created, existing, bad, bad_rows: rows }) {
  return html`
    <p class="outcome" data-kind=${bad ? "wait" : "good"}>
      ${t("import.created", { count: created })} ${existing ? t("import.existing", { count: existing }) : nothing}
      ${bad ? t("import.skipped", { count: bad }) : nothing}
    </p>
    ${rows.length
      ? html`<ul class="bad-rows" role="list" tabindex="0" aria-label=${t("import.skipped_rows")}>
          ${rows.map(({ place, reason }) => html`<li><strong>${place}</strong> ${reason}</li>`)}
        </ul>`
      : nothing}
  `;
}
