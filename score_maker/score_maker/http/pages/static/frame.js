// The frame of every page: head, banners and foot.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { LANGUAGES, chooseLanguage, language, t } from "./i18n.js";
import { cloudOff, clock, logo, moon, sun } from "./icons.js";
import { isDark, toggleTheme } from "./preferences.js";

/** `pages` are the links and `page` is the current one; a null `connection` hides the connection's state. Calls
 * `onPage(page)` when the reader chooses another page, `onChange()` after they have changed language or theme. */
export function head({ pages, page, connection, addressOfPage, onPage, onChange }) {
  const link = (target) => html`
    <a
      href=${addressOfPage(target)}
      aria-current=${page === target ? "page" : nothing}
      @click=${(event) => {
        // The browser handles clicks that open another tab or window.
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        onPage(target);
      }}
      >${t(`nav.${target}`)}</a
    >
  `;
  const choose = (choice) => () => {
    choice();
    onChange();
  };
  const other = Object.keys(LANGUAGES).find((each) => each !== language());
  return html`
    <a class="skip" href="#main">${t("nav.skip")}</a>
    <header class="head">
      <div class="width">
        <p class="brand">${logo}<span>Scoreline</span></p>
        <nav aria-label=${t("nav.label")}>${pages.map(link)}</nav>
        <div class="controls">
          ${connection === null
            ? nothing
            : html`<p class="connection" data-state=${connection}>
                <span class="dot"></span><span class="words">${t(`connection.${connection}`)}</span>
              </p>`}
          <button class="quiet" type="button" lang=${other} @click=${choose(() => chooseLanguage(other))}>
            ${LANGUAGES[other]}
          </button>
          <button
            class="quiet round"
            type="button"
            aria-label=${t("theme.dark")}
            aria-pressed=${isDark()}
            @click=${choose(toggleTheme)}
          >
            ${isDark() ? sun : moon}
          </button>
        </div>
      </div>
    </header>
  `;
}

export function banners({ isOffline, isStale }) {
  if (isOffline) return html`<p class="banner" data-kind="offline">${cloudOff}<span>${t("banner.offline")}</span></p>`;
  if (isStale) return html`<p class="banner" data-kind="stale">${clock}<span>${t("banner.stale")}</span></p>`;
  return nothing;
}

export const foot = () => html`
  <footer class="foot">
    <div class="width">
      <p>${t("footer.promise")}</p>
      <p><a href="/docs">${t("footer.api")}</a></p>
    </div>
  </footer>
`;
