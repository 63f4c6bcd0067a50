"""The rules of scores that need no database."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from line_provider.events.domain import Invalid
from line_provider.scale import SCALE
from line_provider.scores.domain import ScoreChange, check_change

CHANGE = ScoreChange(
    event_id=1, rater_id=uuid4(), value=5, version=1, accepted_at=datetime(2026, 6, 11, 19, tzinfo=UTC)
)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (replace(CHANGE, event_id=0), "event_id"),
        (replace(CHANGE, event_id=2**63), "event_id"),
        (replace(CHANGE, value=SCALE.start - 1), "value"),
        (replace(CHANGE, value=SCALE.stop), "value"),
        (replace(CHANGE, version=0), "version"),
        (replace(CHANGE, version=2**31), "version"),
    ],
)
def test_a_change_that_breaks_the_contract_names_its_field(change: ScoreChange, field: str) -> None:
    with pytest.raises(Invalid, match=f"^{field}: must be"):
        check_change(change)


def test_a_withdrawal_is_a_change_like_any_other() -> None:
    withdrawal = replace(CHANGE, value=None, version=2)
    assert check_change(withdrawal) is withdrawal
