// A rating as a group of radio buttons: by mouse, touch, arrow keys and digits.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { live } from "./vendor/lit-html/directives/live.js";
import { t } from "./i18n.js";
import { star } from "./icons.js";
import { SCALE } from "./scale.js";

// Arrow keys select each value on their way; only the one where they stop is meant.
const ARROW_SETTLE_MS = 700;
let byArrow = false;

/** Calls `onRate(value, settleMs)` with the chosen value, and for how long the choice may still change. */
export function stars({ eventId, title, value, isPending, isDisabled, onRate }) {
  const onKey = (event) => {
    byArrow = event.key.startsWith("Arrow");
    if (SCALE.includes(Number(event.key)) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      onRate(Number(event.key), 0);
      event.currentTarget.querySelector(`[value="${event.key}"]`).focus();
    }
  };
  return html`
    <fieldset
      class="stars"
      role="radiogroup"
      aria-label=${t("stars.label", { title })}
      ?data-pending=${isPending}
      ?disabled=${isDisabled}
      @keydown=${onKey}
      @pointerdown=${() => (byArrow = false)}
    >
      ${SCALE.map(
        (each) => html`
          <label class="star" title=${isDisabled ? nothing : t("stars.value", { count: each })}>
            <input
              class="visually-hidden"
              type="radio"
              name="score-${eventId}"
              value=${each}
              .checked=${live(each === value)}
              @change=${() => onRate(each, byArrow ? ARROW_SETTLE_MS : 0)}
            />
            <span class="visually-hidden">${t("stars.value", { count: each })}</span>
            ${star}
          </label>
        `,
      )}
    </fieldset>
  `;
}
