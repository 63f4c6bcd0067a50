// What was chosen on this page and outlives it; where a browser keeps nothing, it lives as long as the page.

export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(`scoreline.${name}`);
    else localStorage.setItem(`scoreline.${name}`, value);
  } catch {
    // Storage may be forbidden, which changes nothing for now.
  }
}

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : systemIsDark.matches;
}

/** Dark becomes light and the reverse; what the system says anyway is not kept, so that it goes on to be followed. */
export function toggleTheme() {
  const theme = isDark() ? "light" : "dark";
  const followsSystem = systemIsDark.matches === (theme === "dark");
  if (followsSystem) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  keep("theme", followsSystem ? null : theme);
}

export function onSystemThemeChange(listener) {
  systemIsDark.addEventListener("change", listener);
}
