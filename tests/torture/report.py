"""The report of a run: what it tried, and the result."""

from collections import Counter
from collections.abc import Iterator

from tests.torture.arena import Sample
from tests.torture.run import Outcome

_SHOWN_VIOLATIONS = 5


def report(outcome: Outcome) -> str:
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    plan, counts, traffic = outcome.plan, outcome.history.counts, outcome.theatre.arena.worker_link.traffic
    done = outcome.deeds.done
    yield f"seed {plan.seed}: {outcome.seconds:.0f} s of torture, {plan.raters} raters, {len(outcome.events)} events"
    yield f"{done.total()} faults of {len(done)} kinds:"
    yield from _table(done)
    if outcome.deeds.idle:
        yield "faults that found no occasion because of another one:"
        yield from _table(outcome.deeds.idle)
    acknowledged = counts["ratings acknowledged"] + counts["withdrawals acknowledged"]
    yield f"{acknowledged} submissions acknowledged. What clients were told:"
    yield from _table(counts)
    yield f"{traffic.batches} batches sent by the workers; line_provider's verdicts:"
    yield from _table(traffic.verdicts + Counter({f"rejected: {name}": n for name, n in traffic.rejections.items()}))
    yield "messages repeated and reordered by the run itself:"
    yield from _table(outcome.theatre.repeats)
    yield f"scores in the end, after {outcome.peace_seconds:.1f} s to recover:"
    yield from _table(outcome.recorded)
    yield f"{outcome.theatre.organiser.repeated} calls of organisers repeated"
    if outcome.logged_errors:
        yield "errors logged:"
        yield from _table(outcome.logged_errors)
    for crash in outcome.crashes:
        yield f"CRASH in machine code that is not ours: {crash}"
    yield "memory in MiB at the start and after each tenth of the time, then at most; messages in the outbox likewise:"
    yield from _memory(outcome.samples)
    if not outcome.violations:
        yield "no violation: nothing lost, counted twice, undecided or divergent"
        return
    yield f"{len(outcome.violations)} VIOLATIONS, by promise:"
    yield from _table(Counter(violation.promise for violation in outcome.violations))
    yield "the first of them:"
    yield from (f"- {violation}" for violation in outcome.violations[:_SHOWN_VIOLATIONS])
    yield "the last faults:"
    yield from (f"  {at.isoformat()} {name}" for at, name in outcome.deeds.story[-40:])
    yield f"replay: make torture SEED={plan.seed} MINUTES={plan.seconds / 60:g}"


def _table(counts: Counter[str]) -> Iterator[str]:
    for name, count in sorted(counts.items()):
        yield f"  {count:>8}  {name}"


def _memory(samples: list[Sample]) -> Iterator[str]:
    tenths = [samples[(len(samples) - 1) * tenth // 10] for tenth in range(11)]
    for name in samples[0].memory:
        most = max(sample.memory[name] for sample in samples)
        values = [sample.memory[name] for sample in tenths] + [most]
        yield "".join(f"{value:>7.0f}" for value in values) + f"  {name}"
    depths = [sample.outbox for sample in tenths] + [max(sample.outbox for sample in samples)]
    yield "".join(f"{depth:>7}" for depth in depths) + "  messages in the outbox"
