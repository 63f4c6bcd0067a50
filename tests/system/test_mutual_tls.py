"""The whole system with mutual TLS between its services."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import trustme
from httpx import AsyncClient

from devstack.addresses import Address
from devstack.system import System
from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc
from tests.support.rating import rate
from tests.support.waiting import Check


def issue(ca: trustme.CA, name: str, folder: Path) -> tuple[str, str]:
    """Issues a certificate, and returns the paths of the certificate and its key."""
    certificate = ca.issue_cert(name)
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.cert_chain_pems[0].write_to_path(str(paths[0]))
    certificate.private_key_pem.write_to_path(str(paths[1]))
    return str(paths[0]), str(paths[1])


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder, ca = tmp_path_factory.mktemp("certificates"), trustme.CA()
    authority = str(folder / "ca.crt")
    ca.cert_pem.write_to_path(authority)
    settings = {"LINE_PROVIDER_TLS_CLIENT_CA": authority, "LINE_PROVIDER_HEALTH_LISTEN": str(Address.free())}
    for prefix, name in (
        ("LINE_PROVIDER_TLS", "127.0.0.1"),
        ("SCORE_MAKER_LINE_PROVIDER", "score-maker"),
        ("ARQ_WORKER_LINE_PROVIDER", "arq-worker"),
    ):
        settings[f"{prefix}_CERTIFICATE"], settings[f"{prefix}_KEY"] = issue(ca, name, folder)
    settings |= {f"{client}_LINE_PROVIDER_CA": authority for client in ("SCORE_MAKER", "ARQ_WORKER")}
    async with System(tmp_path_factory.mktemp("system"), settings=settings) as system:
        yield system


async def test_ratings_and_events_pass_between_services_with_trusted_certificates(
    system: System, rater: AsyncClient, everything_settled: Check, both_databases_agree: Check
) -> None:
    (event,) = (await rater.get("/events", params={"phase": "open", "limit": 1})).json()["events"]
    answer = await rate(rater, event_id=event["event_id"], headers={"Prefer": "wait=20"})
    assert (answer.status_code, answer.json()["state"]) == (201, "confirmed")
    await everything_settled()
    await both_databases_agree()

    operators = {"Authorization": f"Bearer {system.operators_token}"}
    made = {"title": "Opening night", "starts_at": "2030-01-01T20:00:00Z", "deadline": "2030-01-02T20:00:00Z"}
    assert (await rater.post("/ops/events", json=made, headers=operators)).status_code == 201


async def test_a_client_without_a_certificate_is_refused_even_with_a_valid_token(system: System) -> None:
    metadata = (("authorization", f"Bearer {system.admin_token}"),)
    request = events_pb2.CancelEventRequest(event_id=1)
    async with grpc.aio.insecure_channel(system.grpc_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await events_pb2_grpc.EventServiceStub(channel).CancelEvent(request, metadata=metadata, timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
