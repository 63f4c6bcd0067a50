"""The types of settings that several services have, and how a wrong setting is reported."""

import re
import sys
from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

# The exit code of a process that cannot run with its settings, so that restarting it is pointless.
SETTINGS_ARE_WRONG = 2

# As browsers write origins: no path, and no wildcard, since cookies are sent along.
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d+)?")

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(settings_type: type[SettingsT], *, example: str) -> SettingsT:
    """Reads the settings from the environment and .env, or exits with SETTINGS_ARE_WRONG.

    One line on standard error then names the variable, says what is wrong with it, and names the example to copy.
    """
    try:
        return settings_type()
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_input=False)[0]
        prefix = settings_type.model_config.get("env_prefix", "")
        variable = f"{prefix}{error['loc'][0]}".upper() if error["loc"] else prefix.rstrip("_")
        reason = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        print(f"{variable}: {reason}. See {example}: copy it to .env and edit it.", file=sys.stderr)
        raise SystemExit(SETTINGS_ARE_WRONG) from None


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
        raise ValueError("must consist of ASCII characters without spaces, since it is sent in headers")
    return value


def _number(value: object) -> object:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a number of seconds, like 10 or 0.5") from None


def _at_most_a_day(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= timedelta(days=1):
        raise ValueError("must be more than 0 seconds and at most a day")
    return value


def _split(value: object) -> object:
    return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise ValueError(f"must list addresses or networks, like 10.0.0.7,10.1.0.0/16 ({error})") from None


def _web_address(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise ValueError("must start with https:// (or http://, on a network where nobody can intercept it)")
    return value


def _origin(value: str) -> str:
    if not _ORIGIN.fullmatch(value):
        raise ValueError("must list origins by name, like https://example.org,https://example.org:8443")
    return value


PostgresUrl = Annotated[SecretStr, AfterValidator(_asyncpg_url)]
Token = Annotated[SecretStr, AfterValidator(_token)]
# One token, or several while one replaces another.
Tokens = Annotated[tuple[Token, ...], NoDecode, BeforeValidator(_split), Field(min_length=1)]
# Pydantic accepts a number as seconds, but not the text that every environment variable is.
Seconds = Annotated[timedelta, BeforeValidator(_number), AfterValidator(_at_most_a_day)]
Address = Annotated[str, Field(pattern=r"^\S+:\d+$")]
WebAddress = Annotated[str, AfterValidator(_web_address)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_split)]
