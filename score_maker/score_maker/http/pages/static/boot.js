// Before the first paint: the theme and the language that were chosen here, else those of the browser.
(() => {
  const root = document.documentElement;
  const kept = (name) => {
    try {
      return localStorage.getItem(`scoreline.${name}`);
    } catch {
      return null;
    }
  };
  const theme = kept("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const language = kept("language") ?? navigator.languages.map((each) => each.slice(0, 2)).find((each) => ["en", "ru"].includes(each));
  root.lang = language === "ru" ? "ru" : "en";
})();
