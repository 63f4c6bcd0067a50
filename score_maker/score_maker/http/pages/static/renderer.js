// Showing what is known, once for all that changes at a time.
import { render } from "./vendor/lit-html/lit-html.js";

/** Answers a function that says that `title()` or `view()`, which fills the page, may have changed. */
export function renderer(title, view) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      document.title = title();
      render(view(), document.getElementById("app"));
    });
  };
}
