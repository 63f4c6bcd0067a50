// How many ratings of each value stand, as bars.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { number, t } from "./i18n.js";
import { VALUES } from "./stars.js";

/** `mine` is the reader's own rating, whose bar is marked. */
export function histogram(counts, mine) {
  const most = Math.max(...counts, 1);
  const inWords = [...VALUES]
    .reverse()
    .filter((value) => counts[value - 1])
    .map((value) => t("histogram.row", { value, count: counts[value - 1] }))
    .join(", ");
  return html`
    <div class="histogram" role="img" aria-label=${t("histogram.label", { rows: inWords || t("figures.none") })}>
      ${[...VALUES].reverse().map(
        (value) => html`
          <div class="row" ?data-mine=${value === mine}>
            <span class="value">${value}</span>
            <svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none">
              <rect class="track" width="100" height="1" />
              <rect class="fill" width=${(100 * counts[value - 1]) / most} height="1" />
            </svg>
            <span class="count">${counts[value - 1] ? number(counts[value - 1]) : nothing}</span>
          </div>
        `,
      )}
    </div>
  `;
}
