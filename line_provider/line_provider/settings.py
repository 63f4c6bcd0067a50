"""What line_provider needs to be told. Each setting is an environment variable LINE_PROVIDER_..., or a line of .env."""

import sys
from decimal import Decimal
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

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


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if len(token) < 16:
        raise ValueError("must be at least 16 characters long")
    if not all("!" <= character <= "~" for character in token):
        raise ValueError("must consist of ASCII characters without spaces, since it travels in gRPC metadata")
    return value


Token = Annotated[SecretStr, AfterValidator(_token)]


class DatabaseSettings(BaseSettings):
    """What the commands need that work on the database alone."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore")

    database_url: Annotated[SecretStr, AfterValidator(_asyncpg_url)]
    log_format: Literal["console", "json"] = "console"


class Settings(DatabaseSettings):
    """What `line-provider serve` needs."""

    admin_token: Token
    """Lets its bearer create, change and cancel events."""
    worker_token: Token
    """Lets its bearer apply scores."""
    listen: str = Field(default="127.0.0.1:50051", pattern=r"^\S+:\d+$")
    high_score_from: Decimal = Field(default=Decimal(3), ge=1, le=5)
    """The average from which on an event's status is HIGH_SCORE."""
    shutdown_grace: float = Field(default=10, gt=0, allow_inf_nan=False)
    """Seconds that calls under way may take to finish once the service is told to stop."""

    @field_validator("worker_token")
    @classmethod
    def _is_not_the_admins(cls, worker_token: SecretStr, info: ValidationInfo) -> SecretStr:
        if worker_token == info.data.get("admin_token"):
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
