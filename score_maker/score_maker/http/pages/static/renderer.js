// Renders the page, once for all changes of the same task.
import { render } from "./vendor/lit-html/lit-html.js";

/** Returns a function that schedules a rendering of `title()` and of `view()`, which fills the page. */
export function renderer(title, view) {
  let isScheduled = false;
  return () => {
    if (isScheduled) return;
    isScheduled = true;
    queueMicrotask(() => {
      isScheduled = false;
      document.title = title();
      render(view(), document.getElementById("app"));
    });
  };
}
