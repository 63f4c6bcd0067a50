"""What the settings of score_maker and of its worker have in common: their kinds, and how a mistake is told."""

import sys
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def _asyncpg_url(value: SecretStr) -> SecretStr:
    try:
        url = make_url(value.get_secret_value())
    except (ArgumentError, ValueError):
        raise ValueError("must look like postgresql://user:password@host:5432/database") from None
    if url.drivername not in {"postgresql", "postgresql+asyncpg"}:
        raise ValueError("must start with postgresql://")
    return SecretStr(url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False))


def _redis_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return value


def _number(value: object) -> object:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a number of seconds, like 10 or 0.5") from None


def _some_time(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= timedelta(days=1):
        raise ValueError("must be more than 0 seconds and at most a day")
    return value


PostgresUrl = Annotated[SecretStr, AfterValidator(_asyncpg_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
# Pydantic itself takes a number for seconds, but not the text that every environment variable is.
Seconds = Annotated[timedelta, BeforeValidator(_number), AfterValidator(_some_time)]
Address = Annotated[str, Field(pattern=r"^\S+:\d+$")]


def load(settings_type: type[SettingsT], *, example: str) -> SettingsT:
    """The settings, or exit code 2 with one line that names the variable and the example file to copy from."""
    try:
        return settings_type()
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_input=False)[0]
        prefix = settings_type.model_config.get("env_prefix", "")
        variable = f"{prefix}{error['loc'][0]}".upper() if error["loc"] else prefix.rstrip("_")
        trouble = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        print(f"{variable}: {trouble}. See {example}: copy it to .env and edit it.", file=sys.stderr)
        raise SystemExit(2) from None
