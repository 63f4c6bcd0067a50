// How many ratings of each value count, as bars.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { number, t } from "./i18n.js";
import { SCALE } from "./scale.js";

/** `counts` are in the order of the scale; `mine` is the reader's own rating, whose bar is marked. */
export function histogram(counts, mine) {
  const most = Math.max(...counts, 1);
  const rows = SCALE.map((value, index) => ({ value, count: counts[index] })).reverse();
  const inWords = rows
    .filter(({ count }) => count)
    .map(({ value, count }) =>
      t("histogram.row", { stars: t("stars.value", { count: value }), ratings: t("figures.count", { count }) }),
    )
    .join(", ");
  const label = inWords ? t("histogram.label", { rows: inWords }) : t("histogram.none");
  return html`
    <div class="histogram" role="img" aria-label=${label}>
      ${rows.map(
        ({ value, count }) => html`
          <div class="row" ?data-mine=${value === mine}>
            <span class="value">${value}</span>
            <svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none">
              <rect class="track" width="100" height="1" />
              <rect class="fill" width=${(100 * count) / most} height="1" />
            </svg>
            <span class="count">${count ? number(count) : nothing}</span>
          </div>
        `,
      )}
    </div>
  `;
}
