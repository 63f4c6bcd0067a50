"""The settings of line_provider: environment variables LINE_PROVIDER_…, or lines of .env."""

from decimal import Decimal
from pathlib import Path

from pydantic import Field, FilePath, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from line_provider.scale import SCALE
from scoreline_common.certificates import check_authority, check_pair
from scoreline_common.settings import PostgresUrl, Tokens
from scoreline_common.telemetry.settings import MetricsSettings

PREFIX = "LINE_PROVIDER_"
EXAMPLE = "line_provider/.env_example"


class DatabaseSettings(MetricsSettings):
    """The settings of those commands that need nothing but the database."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore")

    database_url: PostgresUrl


class MigrationSettings(DatabaseSettings):
    """The settings of `line-provider migrate`."""

    owner_database_url: PostgresUrl | None = None
    """The same database, with the role that owns it: the service's own role need not be able to change the schema."""
    app_role: str | None = Field(default=None, max_length=63)
    """The role of LINE_PROVIDER_DATABASE_URL; `migrate` grants it the rights that the running service needs."""


class Settings(DatabaseSettings):
    """The settings of `line-provider serve`."""

    admin_token: Tokens
    """Allows its bearer to create, change and cancel events."""
    worker_token: Tokens
    """Allows its bearer to apply scores and to finalize results."""
    listen: str = Field(default="127.0.0.1:50051", pattern=r"^\S+:\d+$")
    tls_certificate: FilePath | None = None
    """PEM, with the intermediate certificates. Setting it makes `listen` accept TLS only."""
    tls_key: FilePath | None = Field(default=None, validate_default=True)
    tls_client_ca: FilePath | None = None
    """PEM. Setting it makes a client certificate of this authority mandatory (mTLS)."""
    health_listen: str | None = Field(default=None, pattern=r"^\S+:\d+$")
    """Where gRPC health, and nothing else, is served without TLS, for probes that cannot speak TLS."""
    high_score_from: Decimal = Field(default=Decimal(3), ge=SCALE[0], le=SCALE[-1])
    """An event whose average reaches this has the status HIGH_SCORE."""
    shutdown_grace: float = Field(default=10, gt=0, allow_inf_nan=False)
    """Seconds that running calls have to finish when the service is stopped."""

    @field_validator("tls_key")
    @classmethod
    def _belongs_to_the_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "tls_certificate" not in info.data:
            return key
        certificate = info.data["tls_certificate"]
        if (key is None) != (certificate is None):
            raise ValueError(f"and {PREFIX}TLS_CERTIFICATE need each other")
        if key is not None:
            check_pair(certificate, key)
        return key

    @field_validator("tls_client_ca")
    @classmethod
    def _is_an_authority(cls, client_ca: Path | None, info: ValidationInfo) -> Path | None:
        if client_ca is not None:
            if info.data.get("tls_certificate") is None:
                raise ValueError(f"needs {PREFIX}TLS_CERTIFICATE")
            check_authority(client_ca)
        return client_ca

    @field_validator("worker_token")
    @classmethod
    def _is_not_the_admins(cls, worker_token: Tokens, info: ValidationInfo) -> Tokens:
        if set(worker_token) & set(info.data.get("admin_token", ())):
            raise ValueError(f"must differ from {PREFIX}ADMIN_TOKEN")
        return worker_token
