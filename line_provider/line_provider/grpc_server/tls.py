"""TLS of the gRPC server. The files may be replaced while it runs, so that renewing certificates takes no restart."""

from pathlib import Path

import grpc
import structlog

log = structlog.get_logger(__name__)


class _Files:
    """The certificate, its key and the clients' authority, read again when one of the files has changed."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._paths = (certificate, key, *([client_ca] if client_ca else []))
        self._times = self._modified()

    def read(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, *client_ca = (path.read_bytes() for path in self._paths)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca[0] if client_ca else None)

    def read_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns None if nothing has changed, or if the files cannot be read: the server then keeps what it has."""
        try:
            if (times := self._modified()) == self._times:
                return None
            configuration = self.read()
        except OSError as error:
            log.error("certificate_unreadable", error=str(error))  # noqa: TRY400 - a traceback adds nothing to the message
            return None
        self._times = times
        log.info("certificate_reloaded")
        return configuration

    def _modified(self) -> list[int]:
        return [path.stat().st_mtime_ns for path in self._paths]


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """Returns credentials that follow the files. With `client_ca`, clients need a certificate of that authority."""
    files = _Files(certificate, key, client_ca)
    # gRPC calls the fetcher at each handshake.
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.read_if_changed,  # type: ignore[arg-type]  # None means that nothing has changed
        require_client_authentication=client_ca is not None,
    )
