// The saga live: the outbox, the verdicts, whether the totals of both services match, and the health of the services.
import { html, nothing, svg } from "../vendor/lit-html/lit-html.js";
import { age, moment, number, rate, t, tOr } from "../i18n.js";

export function sagaFigures(saga, depths) {
  return html`
    <section aria-labelledby="outbox-title">
      <h2 id="outbox-title">${t("outbox.title")}</h2>
      ${saga.outbox === null ? unknown() : outboxFigures(saga, depths)}
    </section>
    <div class="pair">
      <section aria-labelledby="verdicts-title">
        <h2 id="verdicts-title">${t("verdicts.title")}</h2>
        ${saga.throughput === null ? unknown() : verdicts(saga.throughput.verdicts)}
      </section>
      <div>
        <section aria-labelledby="agreement-title">
          <h2 id="agreement-title">${t("agreement.title")}</h2>
          ${agreement(saga)}
        </section>
        <section aria-labelledby="services-title">
          <h2 id="services-title">${t("services.title")}</h2>
          ${services(saga.services)}
        </section>
      </div>
    </div>
  `;
}

const unknown = () => html`<p class="note" data-kind="bad">${t("saga.unknown")}</p>`;

function outboxFigures({ outbox, throughput }, depths) {
  const { oldest_seconds } = outbox;
  const oldest = oldest_seconds === null ? t("outbox.empty") : t("outbox.oldest", { age: age(oldest_seconds) });
  return html`
    <dl class="tiles">
      <div class="tile wide" data-figure="messages">
        <dt>${t("outbox.messages")}</dt>
        <dd class="number">${number(outbox.messages)}</dd>
        <dd class="note">${oldest}</dd>
        <dd>${sparkline(depths)}</dd>
      </div>
      ${tile("due", number(outbox.due))} ${tile("claimed", number(outbox.claimed))}
      ${tile("postponed", number(outbox.postponed))}
      ${tile("stuck", number(outbox.stuck), outbox.stuck > 0 ? "bad" : nothing)}
      ${tile("accepted", rate(throughput.accepted_per_second))}
      ${tile("settled", rate(throughput.settled_per_second))}
    </dl>
  `;
}

const tile = (name, value, kind = nothing) => html`
  <div class="tile" data-figure=${name} data-kind=${kind}>
    <dt>${t(`outbox.${name}`)}</dt>
    <dd class="number">${value}</dd>
    <dd class="note">${t(`outbox.${name}.note`)}</dd>
  </div>
`;

/** The number of waiting messages at each poll of the last two minutes. */
function sparkline(depths) {
  const most = Math.max(...depths, 1);
  const last = Math.max(depths.length - 1, 1);
  const points = depths.map((depth, index) => `${(100 * index) / last},${20 - (18 * depth) / most}`).join(" ");
  return html`
    <svg
      class="sparkline"
      viewBox="0 0 100 21"
      preserveAspectRatio="none"
      role="img"
      aria-label=${t("outbox.sparkline", { most })}
    >
      ${svg`<polyline points=${points} vector-effect="non-scaling-stroke" />`}
    </svg>
  `;
}

function verdicts(counts) {
  if (!counts.length) return html`<p class="note">${t("verdicts.none")}</p>`;
  return html`
    <table>
      <thead>
        <tr>
          <th scope="col">${t("verdicts.verdict")}</th>
          <th scope="col">${t("verdicts.minute")}</th>
          <th scope="col">${t("verdicts.hour")}</th>
        </tr>
      </thead>
      <tbody>
        ${counts.map(
          ({ verdict, reason, last_minute, last_hour }) => html`
            <tr>
              <th scope="row">${verdictInWords(verdict, reason)}</th>
              <td>${number(last_minute)}</td>
              <td>${number(last_hour)}</td>
            </tr>
          `,
        )}
      </tbody>
    </table>
    <p class="note">${t("verdicts.note")}</p>
  `;
}

function verdictInWords(verdict, reason) {
  const words = tOr(`verdict.${verdict}`, "verdict.other", { verdict });
  return reason === null ? words : `${words}: ${tOr(`reason.${reason}`, "reason.unlisted", { reason })}`;
}

function agreement({ outbox, reconciliation }) {
  if (outbox === null) return unknown();
  if (reconciliation === null) return html`<p class="note">${t("agreement.never")}</p>`;
  const { divergent, divergent_event_ids: listedIds, events, seconds_ago, finished_at } = reconciliation;
  const ago = t("agreement.ago", { age: age(seconds_ago) });
  const when = html`<time datetime=${finished_at} title=${moment(new Date(finished_at))}>${ago}</time>`;
  return html`
    <p class="state" data-kind=${divergent ? "bad" : "good"}>
      <span class="dot"></span>
      <span>${divergent ? t("agreement.differ", { count: divergent }) : t("agreement.equal")}</span>
    </p>
    ${divergent
      ? html`<p class="note">
          ${t("agreement.which", { ids: listedIds.join(", ") })}${divergent > listedIds.length ? " …" : ""}
        </p>`
      : nothing}
    <p class="note">${t("agreement.compared", { count: events })} ${when}</p>
  `;
}

const KINDS = { ready: "good", serving: "good", reporting: "good", unknown: "wait" };

function services({ score_maker, line_provider, arq_worker }) {
  const unreachable = ["database", "redis", "line_provider"].filter((each) => score_maker[each] !== "ok");
  const line = (name, status, note = nothing) => html`
    <li class="state" data-service=${name} data-kind=${KINDS[status] ?? "bad"}>
      <span class="dot"></span>
      <span><strong>${name}</strong> ${tOr(`service.${status}`, "service.other", { status })}${note}</span>
    </li>
  `;
  const without = unreachable.length
    ? ` ${t("services.without", { which: unreachable.map((each) => t(`part.${each}`)).join(", ") })}`
    : "";
  return html`
    <ul role="list">
      ${line("score_maker", score_maker.status, without)} ${line("line_provider", line_provider)}
      ${line("arq_worker", arq_worker)}
    </ul>
  `;
}
