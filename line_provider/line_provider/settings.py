"""What line_provider needs to be told. Each setting is an environment variable LINE_PROVIDER_..., or a line of .env."""

import ssl
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from scoreline_common.telemetry.settings import MetricsSettings

PREFIX = "LINE_PROVIDER_"

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def _asyncpg_url(value: SecretStr) -> SecretStr:
    try:
        url = make_url(value.get_secret_value())
    except (ArgumentError, ValueError):
        raise ValueError("must look like postgresql://user:password@host:5432/database") from None
    if url.drivername not in {"postgresql", "postgresql+asyncpg"}:
        raise ValueError("must start with postgresql://")
    return SecretStr(url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False))


def _listed(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if len(token) < 16:
        raise ValueError("must be at least 16 characters long")
    if not all("!" <= character <= "~" for character in token):
        raise ValueError("must consist of ASCII characters without spaces, since it travels in gRPC metadata")
    return value


def _check_pair(certificate: Path, key: Path) -> None:
    """Raises ValueError unless they are PEM and the key is the certificate's."""
    try:
        # Never asks for a password at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise ValueError(f"is not the key of {certificate}, or one of the two is no PEM ({_reason(error)})") from None


def _check_authority(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except OSError as error:
        raise ValueError(f"holds no certificate in PEM ({_reason(error)})") from None


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or str(error)).lower().replace("_", " ")


# One, or several while one takes the place of another.
Tokens = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_token)], ...], NoDecode, BeforeValidator(_listed), Field(min_length=1)
]


class DatabaseSettings(MetricsSettings):
    """What the commands need that work on the database alone."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore")

    database_url: Annotated[SecretStr, AfterValidator(_asyncpg_url)]


class MigrationSettings(DatabaseSettings):
    """What `line-provider migrate` needs."""

    owner_database_url: Annotated[SecretStr, AfterValidator(_asyncpg_url)] | None = None
    """The same database, with the role that owns it: the other need not be able to change the schema."""
    app_role: str | None = Field(default=None, max_length=63)
    """The role of LINE_PROVIDER_DATABASE_URL, which `migrate` gives the few rights that it needs."""


class Settings(DatabaseSettings):
    """What `line-provider serve` needs."""

    admin_token: Tokens
    """Lets its bearer create, change and cancel events."""
    worker_token: Tokens
    """Lets its bearer apply scores."""
    listen: str = Field(default="127.0.0.1:50051", pattern=r"^\S+:\d+$")
    tls_certificate: FilePath | None = None
    """PEM, with those between it and its authority. With it, `listen` speaks TLS alone."""
    tls_key: FilePath | None = Field(default=None, validate_default=True)
    tls_client_ca: FilePath | None = None
    """PEM: with it, only clients that have a certificate of this authority are let in."""
    health_listen: str | None = Field(default=None, pattern=r"^\S+:\d+$")
    """Where health, and nothing else, is answered without TLS: for probes that do not speak it."""
    high_score_from: Decimal = Field(default=Decimal(3), ge=1, le=5)
    """The average from which on an event's status is HIGH_SCORE."""
    shutdown_grace: float = Field(default=10, gt=0, allow_inf_nan=False)
    """Seconds that calls under way may take to finish once the service is told to stop."""

    @field_validator("tls_key")
    @classmethod
    def _belongs_to_the_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "tls_certificate" not in info.data:
            return key
        certificate = info.data["tls_certificate"]
        if (key is None) != (certificate is None):
            raise ValueError(f"and {PREFIX}TLS_CERTIFICATE need each other")
        if key is not None:
            _check_pair(certificate, key)
        return key

    @field_validator("tls_client_ca")
    @classmethod
    def _is_an_authority(cls, client_ca: Path | None, info: ValidationInfo) -> Path | None:
        if client_ca is not None:
            if info.data.get("tls_certificate") is None:
                raise ValueError(f"needs {PREFIX}TLS_CERTIFICATE")
            _check_authority(client_ca)
        return client_ca

    @field_validator("worker_token")
    @classmethod
    def _is_not_the_admins(cls, worker_token: Tokens, info: ValidationInfo) -> Tokens:
        if set(worker_token) & set(info.data.get("admin_token", ())):
            raise ValueError(f"must differ from {PREFIX}ADMIN_TOKEN")
        return worker_token


def load(settings_type: type[SettingsT]) -> SettingsT:
    """The settings, or exit code 2 with one line that names the variable and the file to copy from."""
    try:
        return settings_type()
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_input=False)[0]
        variable = f"{PREFIX}{error['loc'][0]}".upper()
        trouble = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        print(f"{variable}: {trouble}. See line_provider/.env_example: copy it to .env and edit it.", file=sys.stderr)
        raise SystemExit(2) from None
