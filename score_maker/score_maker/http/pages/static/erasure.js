// Deletes all of the reader's ratings, after a confirmation.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { t } from "./i18n.js";

/** Calls `onErase()` once the reader has confirmed; `failure` says why the last attempt failed, or is null. */
export function erasure(failure, onErase) {
  return html`
    <section class="erasure" aria-labelledby="erasure-title">
      <h2 id="erasure-title">${t("erasure.title")}</h2>
      <p>${t("erasure.text")}</p>
      ${failure ? html`<p class="outcome" data-kind="bad">${failure}</p>` : nothing}
      <button type="button" class="danger" @click=${() => document.getElementById("erasure-dialog").showModal()}>
        ${t("erasure.open")}
      </button>
      <dialog id="erasure-dialog" aria-labelledby="erasure-question" aria-describedby="erasure-consequence">
        <form method="dialog">
          <h2 id="erasure-question">${t("erasure.question")}</h2>
          <p id="erasure-consequence">${t("erasure.consequence")}</p>
          <div class="actions">
            <button>${t("erasure.no")}</button>
            <button class="danger" @click=${onErase}>${t("erasure.yes")}</button>
          </div>
        </form>
      </dialog>
    </section>
  `;
}
