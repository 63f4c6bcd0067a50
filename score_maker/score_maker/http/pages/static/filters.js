// Search, filters and sort order of the events.
import { html } from "./vendor/lit-html/lit-html.js";
import { live } from "./vendor/lit-html/directives/live.js";
import { afterTyping, cancelTyping } from "./debounce.js";
import { t } from "./i18n.js";
import { search } from "./icons.js";
import { PHASES, SORTS, STATUSES } from "./view.js";

/** Calls `onChange(changes)` with the changed parts of the view. */
export function filters(view, onChange) {
  const onType = (event) => {
    const q = event.target.value;
    afterTyping(() => onChange({ q }));
  };
  const onSubmit = (event) => {
    event.preventDefault();
    cancelTyping();
    onChange({ q: event.currentTarget.elements.q.value });
  };
  return html`
    <form class="filters" role="search" aria-label=${t("filter.label")} @submit=${onSubmit}>
      <label class="search">
        <span class="visually-hidden">${t("filter.search")}</span>
        ${search}
        <input
          type="search"
          name="q"
          maxlength="200"
          autocomplete="off"
          placeholder=${t("filter.search")}
          .value=${view.q}
          @input=${onType}
        />
      </label>
      <fieldset class="phases">
        <legend class="visually-hidden">${t("filter.phase")}</legend>
        ${PHASES.map(
          (phase) => html`
            <label>
              <input
                class="visually-hidden"
                type="radio"
                name="phase"
                value=${phase}
                .checked=${live(phase === view.phase)}
                @change=${() => onChange({ phase })}
              />
              <span>${t(`filter.phase.${phase}`)}</span>
            </label>
          `,
        )}
      </fieldset>
      ${choice("status", STATUSES, view, (status) => t(status ? `status.${status}` : "filter.status.any"), onChange)}
      ${choice("sort", SORTS, view, (sort) => t(`sort.${sort}`), onChange)}
    </form>
  `;
}

function choice(name, values, view, labelOf, onChange) {
  const option = (value) => html`
    <option value=${value} .selected=${live(value === view[name])}>${labelOf(value)}</option>
  `;
  return html`
    <label class="choice">
      <span class="visually-hidden">${t(`filter.${name}`)}</span>
      <select name=${name} @change=${(event) => onChange({ [name]: event.target.value })}>
        ${values.map(option)}
      </select>
    </label>
  `;
}
