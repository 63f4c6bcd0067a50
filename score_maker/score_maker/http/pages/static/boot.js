// Sets theme and language before the first paint, so that the page does not flash: the reader's choice, else the
// browser's.
(() => {
  const root = document.documentElement;
  const stored = (name) => {
    try {
      return localStorage.getItem(`scoreline.${name}`);
    } catch {
      return null;
    }
  };
  const theme = stored("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const ofBrowser = navigator.languages.map((each) => each.slice(0, 2)).find((each) => ["en", "ru"].includes(each));
  root.lang = (stored("language") ?? ofBrowser) === "ru" ? "ru" : "en";
})();
