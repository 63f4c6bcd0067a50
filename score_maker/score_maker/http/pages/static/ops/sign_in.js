// The sign-in form: an operator pastes the token.
import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { t } from "../i18n.js";

/** Calls `onSignIn(token)`; `failure` says why the last token was refused, or is null; `isBusy` is true while one is
 * being checked. */
export function signIn({ failure, isBusy, onSignIn }) {
  const onSubmit = (event) => {
    event.preventDefault();
    if (!isBusy) onSignIn(event.currentTarget.elements.token.value.trim());
  };
  return html`
    <form class="sign-in" @submit=${onSubmit}>
      <h1>${t("signin.title")}</h1>
      <p>${t("signin.text")}</p>
      <label class="field">
        <span>${t("signin.token")}</span>
        <input
          type="password"
          name="token"
          required
          autofocus
          autocomplete="off"
          spellcheck="false"
          aria-invalid=${failure ? "true" : nothing}
          aria-describedby=${failure ? "signin-failure" : nothing}
        />
      </label>
      ${failure ? html`<p id="signin-failure" class="outcome" data-kind="bad" role="alert">${failure}</p>` : nothing}
      <button aria-disabled=${isBusy}>${t("signin.go")}</button>
    </form>
  `;
}
