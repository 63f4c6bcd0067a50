// Words, numbers and dates in the reader's language.
import { keep } from "./preferences.js";
import en from "./messages/en.js";
import ru from "./messages/ru.js";

const CATALOGS = { en, ru };

/** More messages, for a page that has more to say: `{ en, ru }`. */
export function addMessages(catalogs) {
  for (const [each, messages] of Object.entries(catalogs)) CATALOGS[each] = { ...CATALOGS[each], ...messages };
}

/** Each language in its own words. */
export const LANGUAGES = { en: "English", ru: "Русский" };

export const language = () => document.documentElement.lang;

export function chooseLanguage(chosen) {
  document.documentElement.lang = chosen;
  keep("language", chosen);
}

/** The language as the reader's region has it: 21:00 in en-GB is 9:00 pm in en-US. */
const locale = () => navigator.languages.find((each) => each.split("-")[0] === language()) ?? language();

const made = new Map();

/** One formatter per language and options: they are costly to make. */
function intl(kind, options = {}) {
  const key = `${language()} ${kind} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new Intl[kind](locale(), options));
  return made.get(key);
}

/** The message, its plural form chosen by `count`, with `{name}` replaced by the value of that name. */
export function t(key, values = {}) {
  const message = CATALOGS[language()][key];
  const text = typeof message === "string" ? message : message[intl("PluralRules").select(values.count)];
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

export const has = (key) => key in CATALOGS.en;

export const number = (value) => intl("NumberFormat").format(value);

export const average = (value) =>
  intl("NumberFormat", { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value);

/** So many a second: a few a minute are not none. */
export const rate = (value) => intl("NumberFormat", { maximumFractionDigits: value < 10 ? 2 : 0 }).format(value);

/** A moment in the reader's time zone; the year only where it is not this one. */
export function moment(date) {
  const sameYear = date.getFullYear() === new Date().getFullYear();
  const options = { weekday: "short", day: "numeric", month: "short", hour: "numeric", minute: "2-digit" };
  return intl("DateTimeFormat", sameYear ? options : { ...options, year: "numeric" }).format(date);
}

export const momentInFull = (date) => intl("DateTimeFormat", { dateStyle: "full", timeStyle: "long" }).format(date);

/** A time that has passed or will have: in its greatest unit. */
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

/** A time still to go: its two greatest units, or minutes and seconds within the last hour. */
export function duration(milliseconds) {
  let rest = Math.max(0, Math.ceil(milliseconds / 1000));
  if (rest < 3_600) return `${Math.floor(rest / 60)}:${String(rest % 60).padStart(2, "0")}`;
  const parts = [];
  for (const [unit, seconds] of UNITS) {
    const count = Math.floor(rest / seconds);
    rest -= count * seconds;
    const isSecond = parts.length === 1;
    if (count) parts.push(intl("NumberFormat", { style: "unit", unit, unitDisplay: "narrow" }).format(count));
    if (isSecond) break;
  }
  return parts.join(" ");
}
