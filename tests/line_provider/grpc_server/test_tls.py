"""TLS and mTLS, with real certificates."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import trustme
from sqlalchemy.ext.asyncio import AsyncEngine

from line_provider.grpc_server.probe import is_serving
from line_provider.grpc_server.tls import server_credentials
from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc
from tests.support.running_server import ADMIN, RunningServer, serving

HOST = "127.0.0.1"


def write(certificate: trustme.LeafCert, folder: Path) -> tuple[Path, Path]:
    paths = folder / "server.crt", folder / "server.key"
    paths[0].write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    paths[1].write_bytes(certificate.private_key_pem.bytes())
    return paths


def trusting(ca: trustme.CA, own: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    if own is None:
        return grpc.ssl_channel_credentials(ca.cert_pem.bytes())
    chain = b"".join(blob.bytes() for blob in own.cert_chain_pems)
    return grpc.ssl_channel_credentials(ca.cert_pem.bytes(), own.private_key_pem.bytes(), chain)


async def is_accepted(address: str, credentials: grpc.ChannelCredentials | None, *, host: str = HOST) -> bool:
    """Tells whether a new client passes the handshake. Raises if its call fails for another reason."""
    options = [("grpc.ssl_target_name_override", host)]
    async with (
        grpc.aio.insecure_channel(address)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials, options=options)
    ) as channel:
        try:
            await events_pb2_grpc.EventServiceStub(channel).GetEvents(events_pb2.GetEventsRequest(), timeout=10)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
    return True


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def mutual(
    engine: AsyncEngine, database_url: str, ca: trustme.CA, tmp_path: Path
) -> AsyncIterator[RunningServer]:
    """A server that accepts clients with a certificate of the same authority."""
    authority = tmp_path / "ca.crt"
    ca.cert_pem.write_to_path(str(authority))
    credentials = server_credentials(*write(ca.issue_cert(HOST), tmp_path), authority)
    async with serving(database_url, credentials=credentials, trusting=trusting(ca, ca.issue_cert("worker"))) as server:
        yield server


async def test_only_clients_with_the_authoritys_certificate_are_accepted(mutual: RunningServer, ca: trustme.CA) -> None:
    assert list((await mutual.events.GetEvents(events_pb2.GetEventsRequest())).events) == []
    assert await is_accepted(mutual.address, trusting(ca, ca.issue_cert("worker")))

    stranger = trustme.CA()
    assert not await is_accepted(mutual.address, None)
    assert not await is_accepted(mutual.address, trusting(ca))
    assert not await is_accepted(mutual.address, trusting(ca, stranger.issue_cert("worker")))
    assert not await is_accepted(mutual.address, trusting(stranger, ca.issue_cert("worker")))
    assert not await is_accepted(mutual.address, trusting(ca, ca.issue_cert("worker")), host="elsewhere.example")


async def test_a_certificate_does_not_replace_a_token(mutual: RunningServer) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await mutual.events.CancelEvent(events_pb2.CancelEventRequest(event_id=1))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await mutual.events.CancelEvent(events_pb2.CancelEventRequest(event_id=1), metadata=ADMIN)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_probes_need_no_tls_and_have_access_to_nothing_else(mutual: RunningServer) -> None:
    await mutual.reports(1)
    assert await asyncio.to_thread(is_serving, mutual.probes_address)
    assert not await asyncio.to_thread(is_serving, mutual.address)
    async with grpc.aio.insecure_channel(mutual.probes_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await events_pb2_grpc.EventServiceStub(channel).GetEvents(events_pb2.GetEventsRequest(), timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_expired_certificate_is_rejected(
    engine: AsyncEngine, database_url: str, ca: trustme.CA, tmp_path: Path
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    expired = ca.issue_cert(HOST, not_after=yesterday)
    async with serving(database_url, credentials=server_credentials(*write(expired, tmp_path), None)) as server:
        assert not await is_accepted(server.address, trusting(ca))


async def test_a_renewed_certificate_is_used_without_a_restart_and_an_unreadable_one_is_not(
    engine: AsyncEngine, database_url: str, ca: trustme.CA, tmp_path: Path
) -> None:
    files = write(ca.issue_cert(HOST), tmp_path)
    async with serving(database_url, credentials=server_credentials(*files, None)) as server:
        assert await is_accepted(server.address, trusting(ca))
        files[1].unlink()
        assert await is_accepted(server.address, trusting(ca))

        new_ca = trustme.CA()
        write(new_ca.issue_cert(HOST), tmp_path)
        for path in files:
            os.utime(path, (0, 0))
        assert await is_accepted(server.address, trusting(new_ca))
        assert not await is_accepted(server.address, trusting(ca))
