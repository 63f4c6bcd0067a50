// Messages, numbers and dates in the reader's language.
import { store } from "./preferences.js";
import en from "./messages/en.js";
import ru from "./messages/ru.js";

const CATALOGS = { en, ru };

/** Adds the messages of one more page, `{ en, ru }`; they replace those of the same key. */
export function addMessages(catalogs) {
  for (const [each, messages] of Object.entries(catalogs)) CATALOGS[each] = { ...CATALOGS[each], ...messages };
}

/** The name of each language in that language. */
export const LANGUAGES = { en: "English", ru: "Русский" };

export const language = () => document.documentElement.lang;

export function chooseLanguage(chosen) {
  document.documentElement.lang = chosen;
  store("language", chosen);
}

/** The language with the reader's region, which decides formats: 21:00 in en-GB is 9:00 pm in en-US. */
const locale = () => navigator.languages.find((each) => each.split("-")[0] === language()) ?? language();

const formatters = new Map();

/** Caches one formatter per language and options, because they are expensive to create. */
function intl(kind, options = {}) {
  const key = `${language()} ${kind} ${JSON.stringify(options)}`;
  if (!formatters.has(key)) formatters.set(key, new Intl[kind](locale(), options));
  return formatters.get(key);
}

/** The message of the key, in the plural form for `count`, with each `{name}` replaced by the value of that name.
 * Throws for an unknown key: a key that contains a value from the service belongs in `tOr`. */
export function t(key, values = {}) {
  const message = CATALOGS[language()][key];
  const text = typeof message === "string" ? message : message[intl("PluralRules").select(values.count)];
  return text.replace(/\{(\w+)\}/g, (_, name) => inWords(values[name]));
}

const inWords = (value) => (typeof value === "number" ? number(value) : value);

/** As `t`, with the message of `otherKey` if there is none of `key`. For keys that contain a value from the service: a
 * newer service sends reasons, states and problems that this version of the page does not know. */
export const tOr = (key, otherKey, values) => t(Object.hasOwn(CATALOGS.en, key) ? key : otherKey, values);

export const number = (value) => intl("NumberFormat").format(value);

export const average = (value) =>
  intl("NumberFormat", { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value);

/** A rate per second; small rates keep their decimals, so that a few per minute do not show as 0. */
export const rate = (value) => intl("NumberFormat", { maximumFractionDigits: value < 10 ? 2 : 0 }).format(value);

/** A moment in the reader's time zone; with the year only if it is another year than this one. */
export function moment(date) {
  const sameYear = date.getFullYear() === new Date().getFullYear();
  const options = { weekday: "short", day: "numeric", month: "short", hour: "numeric", minute: "2-digit" };
  return intl("DateTimeFormat", sameYear ? options : { ...options, year: "numeric" }).format(date);
}

export const momentInFull = (date) => intl("DateTimeFormat", { dateStyle: "full", timeStyle: "long" }).format(date);

/** A duration of so many seconds, in its largest unit. */
export function age(seconds) {
  const [unit, length] = UNITS.find(([, each]) => seconds >= each) ?? ["second", 1];
  const options = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 };
  return intl("NumberFormat", options).format(Math.floor(seconds / length));
}

const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** The time left: in its two largest units, or as minutes and seconds within the last hour. */
export function duration(milliseconds) {
  let left = Math.max(0, Math.ceil(milliseconds / 1000));
  if (left < 3_600) return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  const parts = [];
  for (const [unit, seconds] of UNITS) {
    const count = Math.floor(left / seconds);
    left -= count * seconds;
    const isSecond = parts.length === 1;
    if (count) parts.push(intl("NumberFormat", { style: "unit", unit, unitDisplay: "narrow" }).format(count));
    if (isSecond) break;
  }
  return parts.join(" ");
}
