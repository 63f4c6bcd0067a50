"""TLS of the gRPC server, from files that whoever renews certificates replaces while it runs."""

from pathlib import Path

import grpc
import structlog

log = structlog.get_logger(__name__)


class _Files:
    """What the files hold, read again where one of them has changed."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._paths = (certificate, key, *([client_ca] if client_ca else []))
        self._times = self._modified()

    def read(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, *client_ca = (path.read_bytes() for path in self._paths)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca[0] if client_ca else None)

    def read_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """None where nothing has changed or the files cannot be read now: what was there goes on."""
        try:
            if (times := self._modified()) == self._times:
                return None
            configuration = self.read()
        except OSError as error:
            log.error("certificate_unreadable", error=str(error))  # noqa: TRY400 - the reason says it all
            return None
        self._times = times
        log.info("certificate_read")
        return configuration

    def _modified(self) -> list[int]:
        return [path.stat().st_mtime_ns for path in self._paths]


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """With `client_ca`, only clients with a certificate of that authority are let in."""
    files = _Files(certificate, key, client_ca)
    # gRPC asks at each handshake.
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.read_if_changed,  # type: ignore[arg-type]  # None is how it says that nothing has changed
        require_client_authentication=client_ca is not None,
    )
