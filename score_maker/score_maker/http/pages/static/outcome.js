// What became of a rating, in words; the page shows and announces the same ones.
import { t, tOr } from "./i18n.js";

/** What went wrong and what to do about it, in the reader's language. A problem that this version of the page does not
 * know, from a newer service, gets a generic sentence. */
export const explain = (problem) => tOr(`problem.${problem.kind}`, "problem.other", { detail: problem.message });

/** `kind` is `none`, `wait`, `retrying`, `good` or `bad`. */
export function outcome({ submission, score, retryCause, refusal }, isOpen) {
  if (submission) return underway(submission, retryCause);
  if (refusal) return { kind: "bad", text: `${t("rate.refused", { reason: explain(refusal) })} ${standing(score)}` };
  if (!score) return { kind: "none", text: t(isOpen ? "rate.hint" : "rate.missed") };
  return stateOf(score);
}

function underway(submission, retryCause) {
  if (retryCause) return { kind: "retrying", text: `${explain(retryCause)} ${t("rate.repeating")}` };
  return { kind: "wait", text: t(submission.value === null ? "rate.removing" : "rate.sending") };
}

function stateOf(score) {
  switch (score.state) {
    case "pending":
      return { kind: "wait", text: t(score.score === null ? "rate.removal_saved" : "rate.saved") };
    case "confirmed":
      return { kind: "good", text: t("rate.confirmed") };
    case "withdrawn":
      return { kind: "none", text: t("rate.removed") };
    case "rejected": {
      const reason = tOr(`reason.${score.reason}`, "reason.other");
      return { kind: "bad", text: `${t("rate.rejected", { reason })} ${standing(score)}` };
    }
    default:
      // A state of a newer service: this page cannot say whether the rating counts, and must not guess.
      return { kind: "none", text: t("rate.other") };
  }
}

function standing(score) {
  return score?.score == null ? t("rate.none_stands") : t("rate.stands", { value: score.score });
}
