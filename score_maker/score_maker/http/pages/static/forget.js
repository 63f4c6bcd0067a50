// Deleting all of the reader's ratings, once that was asked for twice.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { t } from "./i18n.js";

/** `onForget()` is called once the reader has confirmed it; `failure` says why that did not work the last time. */
export function forgetMe(failure, onForget) {
  return html`
    <section class="forget" aria-labelledby="forget-title">
      <h2 id="forget-title">${t("forget.title")}</h2>
      <p>${t("forget.text")}</p>
      ${failure ? html`<p class="outcome" data-kind="bad">${failure}</p>` : nothing}
      <button type="button" class="danger" @click=${() => document.getElementById("forget-dialog").showModal()}>
        ${t("forget.open")}
      </button>
      <dialog id="forget-dialog" aria-labelledby="forget-question" aria-describedby="forget-consequence">
        <form method="dialog">
          <h2 id="forget-question">${t("forget.question")}</h2>
          <p id="forget-consequence">${t("forget.consequence")}</p>
          <div class="actions">
            <button>${t("forget.no")}</button>
            <button class="danger" @click=${onForget}>${t("forget.yes")}</button>
          </div>
        </form>
      </dialog>
    </section>
  `;
}
