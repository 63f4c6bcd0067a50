// Search as the reader types, without a request per letter.

const TYPING_PAUSE_MS = 250;
let timer = null;

/** Calls `action` once nothing has been typed for a moment; only the latest one counts. */
export function afterTyping(action) {
  cancelTyping();
  timer = setTimeout(action, TYPING_PAUSE_MS);
}

export function cancelTyping() {
  clearTimeout(timer);
}
