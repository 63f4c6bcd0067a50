"""The settings of score_maker. Each is an environment variable SCORE_MAKER_..., or a line of .env."""

from datetime import timedelta
from typing import Literal, TypeVar

from limits import RateLimitItemPerMinute
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from score_maker.identity.issuer_tokens import ALGORITHMS
from score_maker.rate_limits.limiter import RateLimit
from score_maker.ratings.domain import SCALE
from score_maker.storage.redis import RedisUrl
from scoreline_common.line_provider_channel import LineProviderSettings
from scoreline_common.settings import (
    CommaSeparated,
    Networks,
    Origins,
    PostgresUrl,
    Seconds,
    Token,
    Tokens,
    WebAddress,
)
from scoreline_common.telemetry.settings import TelemetrySettings

ValueT = TypeVar("ValueT")

EXAMPLE = "score_maker/.env_example"


class MigrationSettings(TelemetrySettings):
    """The settings of `score-maker migrate`."""

    model_config = SettingsConfigDict(env_prefix="SCORE_MAKER_", env_file=".env", env_ignore_empty=True, extra="ignore")

    database_url: PostgresUrl
    owner_database_url: PostgresUrl | None = None
    """The same database with the role that owns it, so that the service's own role cannot change the schema."""
    app_role: str | None = Field(default=None, max_length=63)
    """The role in SCORE_MAKER_DATABASE_URL; `migrate` grants it the few rights that the service needs."""
    worker_role: str | None = Field(default=None, max_length=63)
    """The database role of arq_worker; `migrate` grants it the few rights that the worker needs."""


class Settings(LineProviderSettings, TelemetrySettings):
    """The settings of `score-maker serve`."""

    model_config = MigrationSettings.model_config

    database_url: PostgresUrl
    redis_url: RedisUrl
    secret_key: SecretStr = Field(min_length=32)
    """Signs the tokens of anonymous raters, and keys the digests of the issuer's subjects."""
    admin_token: Tokens | None = None
    """The operators' token for /ops; without it there is no /ops."""
    line_provider_token: Token | None = None
    """line_provider's admin token; with it, events can be managed at /ops."""
    identity: Literal["anonymous", "jwt"] = "anonymous"
    """Who identifies raters: this service, by its own cookies and tokens, or the issuer of JWTs."""
    jwt_issuer: str | None = Field(default=None, min_length=1, pattern=r"^\S+$", validate_default=True)
    jwt_audience: str | None = Field(default=None, min_length=1, validate_default=True)
    jwt_jwks_url: WebAddress | None = Field(default=None, validate_default=True)
    jwt_algorithms: CommaSeparated = Field(default=("RS256", "ES256", "EdDSA"), min_length=1)
    jwt_leeway: Seconds = timedelta(seconds=30)
    """How far the issuer's clock may deviate from this one."""
    host: str = "127.0.0.1"
    port: int = Field(default=8002, ge=1, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that serve on the port, each with a connection pool of its own."""
    database_pool_size: int = Field(default=10, ge=2, le=100)
    max_waiting: int = Field(default=10_000, ge=1)
    """Submissions that may wait for a transaction; more are answered 503. The same number of clients may wait for a
    verdict; more are answered at once."""
    top_prior_mean: float = Field(default=3, ge=SCALE[0], le=SCALE[-1])
    top_prior_weight: float = Field(default=10, ge=0, allow_inf_nan=False)
    """How many ratings with that average each event is given in advance in the order `top`."""
    max_listeners: int = Field(default=1_000, ge=0)
    """Subscribers of GET /events/stream for each process; more are answered 503."""
    stream_heartbeat: Seconds = timedelta(seconds=15)
    """How often a subscriber of GET /events/stream is sent a comment while nothing changes."""
    shutdown_grace: Seconds = timedelta(seconds=10)
    """How long requests in flight may take to finish when the service stops."""
    rate_limit_rater: RateLimit = RateLimitItemPerMinute(120)
    """How often one rater may write."""
    rate_limit_address: RateLimit = RateLimitItemPerMinute(6000)
    """How often all raters of one address together may write; IPv6 addresses are limited by their /64."""
    trusted_proxies: Networks = ()
    """The reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted."""
    cors_origins: Origins = ()
    """Other sites whose pages may use the API from a browser, with cookies if the browser sends them."""

    @field_validator("jwt_issuer", "jwt_audience", "jwt_jwks_url")
    @classmethod
    def _is_given_with_jwt(cls, value: ValueT | None, info: ValidationInfo) -> ValueT | None:
        if value is None and info.data.get("identity") == "jwt":
            raise ValueError("is missing, but required by SCORE_MAKER_IDENTITY=jwt")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _are_asymmetric(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not ALGORITHMS.issuperset(value):
            raise ValueError(f"must list some of {', '.join(sorted(ALGORITHMS))}")
        return value
