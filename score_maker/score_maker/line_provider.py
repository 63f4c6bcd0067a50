"""The connection to line_provider, which score_maker and arq_worker make alike."""

import ssl
from pathlib import Path

import grpc
from pydantic import Field, FilePath, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from score_maker.configuration import Address

_OPTIONS = (
    # A link that is cut without a word is noticed by a ping within about 15 s instead of by TCP within many minutes.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class LineProviderSettings(BaseSettings):
    """Where line_provider answers, and how it and this service prove to each other who they are."""

    line_provider_address: Address
    line_provider_ca: FilePath | None = None
    """PEM: the authority of line_provider's certificate. With it, TLS is spoken."""
    line_provider_certificate: FilePath | None = None
    """PEM: this service's certificate, where line_provider wants one."""
    line_provider_key: FilePath | None = Field(default=None, validate_default=True)

    @field_validator("line_provider_ca")
    @classmethod
    def _is_an_authority(cls, ca: Path | None) -> Path | None:
        if ca is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
            except OSError as error:
                raise ValueError(f"holds no certificate in PEM ({_reason(error)})") from None
        return ca

    @field_validator("line_provider_key")
    @classmethod
    def _belongs_to_the_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if not {"line_provider_ca", "line_provider_certificate"} <= info.data.keys():
            return key
        certificate = info.data["line_provider_certificate"]
        if (key is None) != (certificate is None):
            raise ValueError("and the certificate need each other")
        if key is not None and certificate is not None:
            if info.data["line_provider_ca"] is None:
                raise ValueError("needs the authority of line_provider's certificate too")
            try:
                # Never asks for a password at the terminal.
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="")
            except OSError as error:
                reason = f"is not the key of {certificate}, or one of the two is no PEM ({_reason(error)})"
                raise ValueError(reason) from None
        return key

    def line_provider_credentials(self) -> grpc.ChannelCredentials | None:
        """None without TLS. Certificates are read now: one that is renewed is used from the next start on."""
        if self.line_provider_ca is None:
            return None
        key, certificate = self.line_provider_key, self.line_provider_certificate
        return grpc.ssl_channel_credentials(
            self.line_provider_ca.read_bytes(),
            None if key is None else key.read_bytes(),
            None if certificate is None else certificate.read_bytes(),
        )


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or str(error)).lower().replace("_", " ")


def open_channel(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """A channel to keep for the life of the process: it reconnects by itself, with pauses of 2 s at most."""
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
