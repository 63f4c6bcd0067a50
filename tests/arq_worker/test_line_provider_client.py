"""The contract's enums and ours are the same, apart from what a newer neighbour may add."""

import pytest

from arq_worker import line_provider_client
from score_maker.ratings.domain import Reason, Verdict
from scoreline.line_provider.v1 import scores_pb2


@pytest.mark.parametrize(
    ("numbers", "known", "ours"),
    [
        (scores_pb2.Verdict.values(), line_provider_client._VERDICTS, set(Verdict)),
        (scores_pb2.RejectionReason.values(), line_provider_client._REASONS, set(Reason) - {Reason.OTHER}),
    ],
)
def test_every_value_of_the_contract_has_a_member_here(
    numbers: list[int], known: dict[int, Verdict | Reason], ours: set[Verdict | Reason]
) -> None:
    unspecified = 0
    assert set(numbers) - {unspecified} == known.keys()
    assert set(known.values()) == ours
