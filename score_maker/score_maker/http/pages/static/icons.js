// Icons. Each stands beside words that mean the same, so all are hidden from screen readers.
import { svg, html } from "./vendor/lit-html/lit-html.js";

const icon = (name, content) => html`<svg class="icon ${name}" viewBox="0 0 24 24" aria-hidden="true">${content}</svg>`;

export const star = icon("filled", svg`<path d="M12 2.9l2.82 5.72 6.31.92-4.57 4.45 1.08 6.28L12 17.3l-5.64 2.97 1.08-6.28L2.87 9.54l6.31-.92z" />`);
export const check = icon("drawn", svg`<path d="M5 12.5l4.5 4.5L19 7.5" />`);
export const cross = icon("drawn", svg`<circle cx="12" cy="12" r="9" /><path d="M9 9l6 6M15 9l-6 6" />`);
export const clock = icon("drawn", svg`<circle cx="12" cy="12" r="9" /><path d="M12 7v5l3.5 2" />`);
export const search = icon("drawn", svg`<circle cx="11" cy="11" r="6.5" /><path d="M16 16l4.5 4.5" />`);
export const up = icon("drawn", svg`<path d="M12 19V6M6.5 11.5L12 6l5.5 5.5" />`);
export const down = icon("drawn", svg`<path d="M12 5v13M6.5 12.5L12 18l5.5-5.5" />`);
export const sun = icon("drawn", svg`<circle cx="12" cy="12" r="4" /><path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4" />`);
export const moon = icon("drawn", svg`<path d="M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z" />`);
export const cloudOff = icon("drawn", svg`<path d="M7 18.5h9.5M18.8 17.6A4 4 0 0 0 17 10.5 6 6 0 0 0 8.6 7M6.3 9.2A4.7 4.7 0 0 0 7 18.5M4 4l16 16" />`);
export const logo = html`<svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
  <rect width="32" height="32" rx="8" /><path
    d="M16 4.6l3 6.2 6.8 1-4.9 4.8 1.1 6.8-6-3.2-6 3.2 1.1-6.8-4.9-4.8 6.8-1z" />
  <rect class="line" x="7" y="25.6" width="18" height="2.2" rx="1.1" />
</svg>`;
