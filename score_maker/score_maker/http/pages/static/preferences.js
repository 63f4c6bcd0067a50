// The reader's choices that outlive the page. If the browser stores nothing, they live as long as the page.

export function store(name, value) {
  try {
    if (value === null) localStorage.removeItem(`scoreline.${name}`);
    else localStorage.setItem(`scoreline.${name}`, value);
  } catch {
    // The browser may forbid storage; the choice still holds for this page.
  }
}

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : systemIsDark.matches;
}

/** Switches between dark and light. A choice that equals the system's theme is not stored, so that the page keeps
 * following the system. */
export function toggleTheme() {
  const theme = isDark() ? "light" : "dark";
  const followsSystem = systemIsDark.matches === (theme === "dark");
  if (followsSystem) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  store("theme", followsSystem ? null : theme);
}

export function onSystemThemeChange(listener) {
  systemIsDark.addEventListener("change", listener);
}
