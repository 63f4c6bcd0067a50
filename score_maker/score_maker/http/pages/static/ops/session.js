// The operators' token. It is stored for this tab, until the operator closes it or signs out.
const KEY = "scoreline.operator";

let stored = null;
try {
  stored = sessionStorage.getItem(KEY);
} catch {
  // The browser may forbid storage; the token then lives as long as the page.
}

export const token = () => stored;

export function storeToken(value) {
  stored = value;
  try {
    if (value === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {
    // As above.
  }
}

/** Whether the text may be a token at all: other characters cannot be sent in a header. */
export const isToken = (text) => /^[!-~]+$/.test(text);
