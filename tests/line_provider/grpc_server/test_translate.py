"""Enums between the contract and the domain, which are mapped by name."""

import pytest
from google.protobuf.descriptor import EnumDescriptor

from line_provider.events.domain import Invalid, Order, Phase, Status
from line_provider.grpc_server.translate import VERDICTS, decision_message, filter_of, import_format_of, order_of
from line_provider.importing.importer import Format
from line_provider.scores.domain import Decision, Reason, Verdict
from scoreline.line_provider.v1 import events_pb2, scores_pb2


def names(contract: EnumDescriptor) -> list[str]:
    """The names of the contract's values but the unspecified one, without the prefix."""
    prefix = contract.values[0].name.removesuffix("UNSPECIFIED")
    return [value.name.removeprefix(prefix) for value in contract.values[1:]]


def test_every_verdict_and_reason_of_the_contract_is_one_of_ours_and_the_other_way_round() -> None:
    assert {verdict.name for verdict in VERDICTS} == set(names(scores_pb2.Verdict.DESCRIPTOR))
    assert {reason.name for reason in Reason} == set(names(scores_pb2.RejectionReason.DESCRIPTOR))
    for reason in Reason:
        message = decision_message(Decision(Verdict.REJECTED, reason))
        assert message.verdict == scores_pb2.VERDICT_REJECTED
        assert scores_pb2.RejectionReason.Name(message.reason) == f"REJECTION_REASON_{reason.name}"
    assert decision_message(Decision(Verdict.APPLIED)).reason == scores_pb2.REJECTION_REASON_UNSPECIFIED


def test_every_choice_of_a_request_is_one_of_ours() -> None:
    for number, name in enumerate(["", *names(events_pb2.EventStatus.DESCRIPTOR)]):
        wanted = filter_of(events_pb2.GetEventsRequest(status=number))  # type: ignore[arg-type]
        assert wanted.status is (Status[name] if name else None)
    for number, name in enumerate(["", *names(events_pb2.EventPhase.DESCRIPTOR)]):
        wanted = filter_of(events_pb2.GetEventsRequest(phase=number))  # type: ignore[arg-type]
        assert wanted.phase is (Phase[name] if name else None)
    for number, name in enumerate(["DEADLINE", *names(events_pb2.EventOrder.DESCRIPTOR)]):
        assert order_of(events_pb2.GetEventsRequest(order=number)) is Order[name]  # type: ignore[arg-type]
    for number, name in enumerate(["AUTO", *names(events_pb2.ImportFormat.DESCRIPTOR)]):
        request = events_pb2.ImportEventsRequest(format=number)  # type: ignore[arg-type]
        assert import_format_of(request) is Format[name]


@pytest.mark.parametrize("number", [-1, 99])
def test_a_number_of_another_contract_is_invalid(number: int) -> None:
    with pytest.raises(Invalid, match=r"^status: must be a number of the contract's enum, 0 to 3$"):
        filter_of(events_pb2.GetEventsRequest(status=number))  # type: ignore[arg-type]
