"""Who rates: a rater whose id this service has made up and signed, or a subject that a trusted issuer has signed.

An id that a client makes up is never trusted.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from itsdangerous import BadSignature, Signer
from uuid_utils.compat import uuid7


def new_rater_id() -> UUID:
    """Nobody's yet; random but for the time, with which it begins.

    So the ratings of new raters lie side by side in the indexes of both databases. With all random ids each would touch
    another page of them.
    """
    return uuid7()


@dataclass(frozen=True, slots=True)
class Rater:
    """A rater and the token that proves it; whoever holds the token is the rater."""

    id: UUID
    token: str


class RaterTokens:
    """Mints tokens and tells whose they are. Tokens do not expire: a rating belongs to its rater for good."""

    def __init__(self, secret_key: str) -> None:
        # The key is derived here, once, and not for every token.
        key = Signer(secret_key, salt="rater").derive_key()
        self._signer = Signer(key, key_derivation="none")

    def mint(self) -> Rater:
        rater_id = new_rater_id()
        return Rater(rater_id, self._signer.sign(urlsafe_b64encode(rater_id.bytes).rstrip(b"=")).decode())

    def read(self, token: str) -> Rater | None:
        """The rater whose token this is; None where this service did not sign it."""
        try:
            encoded = self._signer.unsign(token)
            return Rater(UUID(bytes=urlsafe_b64decode(encoded + b"==")), token)
        except (BadSignature, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody whom an issuer knows. Which rater that is, is nothing but a row (issued_raters).

    The key is always the same for the same issuer, subject and secret key, and another one's for no other. Without the
    secret key nobody can compute it, nor try out whose it is.
    """

    key: bytes

    @classmethod
    def of(cls, issuer: str, subject: str, secret_key: str) -> Self:
        """Raises ValueError where the subject is no text that can be encoded."""
        # A space ends the issuer, which is an address and has none. What is signed for others never begins so.
        named = f"subject of issuer {issuer} {subject}".encode()
        return cls(hmac.digest(secret_key.encode(), named, "sha256"))
