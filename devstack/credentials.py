"""The passwords, the tokens and the secret key of one data folder: generated once, and kept in a file."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self


def _generate() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Each value is a random text of 43 characters (256 bits, base64url) unless the file has another."""

    line_provider_password: str = field(default_factory=_generate, repr=False)
    line_provider_app_password: str = field(default_factory=_generate, repr=False)
    score_maker_password: str = field(default_factory=_generate, repr=False)
    score_maker_app_password: str = field(default_factory=_generate, repr=False)
    arq_worker_password: str = field(default_factory=_generate, repr=False)
    admin_token: str = field(default_factory=_generate, repr=False)
    worker_token: str = field(default_factory=_generate, repr=False)
    operators_token: str = field(default_factory=_generate, repr=False)
    secret_key: str = field(default_factory=_generate, repr=False)

    @classmethod
    def of(cls, file: Path) -> Self:
        """Reads the credentials from the file, and generates those that it lacks. Only its owner may read it."""
        known = json.loads(file.read_text()) if file.exists() else {}
        credentials = cls(**known)
        if asdict(credentials) != known:
            fresh = file.with_suffix(".fresh")
            fresh.unlink(missing_ok=True)
            with open(fresh, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
                json.dump(asdict(credentials), stream, indent=2)
            fresh.replace(file)
        return credentials
