// The operators' token: kept for this tab, until it is closed or the operator signs out.
const KEY = "scoreline.operator";

let kept = null;
try {
  kept = sessionStorage.getItem(KEY);
} catch {
  // Storage may be forbidden: then it is kept as long as the page.
}

export const token = () => kept;

export function keepToken(value) {
  kept = value;
  try {
    if (value === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {
    // As above.
  }
}

/** Whether it could be one at all: others cannot even be sent. */
export const isToken = (text) => /^[!-~]+$/.test(text);
