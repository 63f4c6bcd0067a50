// What became of a rating, in words; the same ones are shown and announced.
import { has, t } from "./i18n.js";

/** What went wrong and what to do, in the reader's language; in the service's own words where it is something new. */
export function explain(problem) {
  const key = `problem.${problem.kind}`;
  return has(key) ? t(key) : problem.message;
}

/** `kind` is `none`, `wait`, `trouble` (it is tried again), `good` or `bad`. */
export function outcome({ wish, score, trouble, refusal }, isOpen) {
  if (wish) return waiting(wish, trouble);
  if (refusal) return { kind: "bad", text: `${t("rate.refused", { reason: explain(refusal) })} ${standing(score)}` };
  if (!score) return { kind: "none", text: t(isOpen ? "rate.hint" : "rate.missed") };
  return decided(score, isOpen);
}

function waiting(wish, trouble) {
  if (trouble) return { kind: "trouble", text: `${explain(trouble)} ${t("rate.repeating")}` };
  return { kind: "wait", text: t(wish.value === null ? "rate.withdrawing" : "rate.sending") };
}

function decided(score, isOpen) {
  switch (score.state) {
    case "pending":
      return { kind: "wait", text: t(score.score === null ? "rate.withdrawal_saved" : "rate.saved") };
    case "confirmed":
      return { kind: "good", text: t(isOpen ? "rate.confirmed" : "rate.confirmed_for_good") };
    case "withdrawn":
      return { kind: "none", text: t(isOpen ? "rate.withdrawn" : "rate.withdrawn_for_good") };
    default: {
      const reason = t(has(`reason.${score.reason}`) ? `reason.${score.reason}` : "reason.other");
      return { kind: "bad", text: `${t("rate.rejected", { reason })} ${standing(score)}` };
    }
  }
}

function standing(score) {
  return score?.score == null ? t("rate.none_stands") : t("rate.stands", { value: score.score });
}
