"""The gRPC channel to line_provider, which score_maker and arq_worker open alike, and the settings that it needs."""

from pathlib import Path

import grpc
from pydantic import Field, FilePath, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from scoreline_common.certificates import check_authority, check_pair
from scoreline_common.settings import Address

_OPTIONS = (
    # A link that was cut silently is detected by a ping within about 15 s, instead of by TCP within many minutes.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class LineProviderSettings(BaseSettings):
    """The address of line_provider, and the certificates by which it and this service authenticate each other."""

    line_provider_address: Address
    line_provider_ca: FilePath | None = None
    """PEM: the authority that issued line_provider's certificate. Setting it turns TLS on."""
    line_provider_certificate: FilePath | None = None
    """PEM: this service's certificate, if line_provider requires one."""
    line_provider_key: FilePath | None = Field(default=None, validate_default=True)

    @field_validator("line_provider_ca")
    @classmethod
    def _is_an_authority(cls, ca: Path | None) -> Path | None:
        if ca is not None:
            check_authority(ca)
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
            check_pair(certificate, key)
        return key

    def line_provider_credentials(self) -> grpc.ChannelCredentials | None:
        """None without TLS. Certificates are read when this is called: a renewed one is used after a restart."""
        if self.line_provider_ca is None:
            return None
        key, certificate = self.line_provider_key, self.line_provider_certificate
        return grpc.ssl_channel_credentials(
            self.line_provider_ca.read_bytes(),
            None if key is None else key.read_bytes(),
            None if certificate is None else certificate.read_bytes(),
        )


def open_channel(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """Opens a channel for the life of the process; it reconnects by itself, at least every 2 s."""
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
