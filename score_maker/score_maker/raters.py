"""Who rates: an id that this service has made up and signed, or one that follows from what a trusted issuer has signed.

One that a client makes up is never trusted.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from uuid import UUID, uuid4, uuid5

from itsdangerous import BadSignature, Signer

_ISSUED = UUID("8b6826b5-a646-4499-af3a-6ecbeffe7f62")


@dataclass(frozen=True, slots=True)
class Rater:
    """A rater and the token that proves it; whoever holds the token is the rater."""

    id: UUID
    token: str


class RaterTokens:
    """Mints tokens and tells whose they are. Tokens do not expire: a rating belongs to its rater for good."""

    def __init__(self, secret_key: str) -> None:
        self._signer = Signer(secret_key, salt="rater")

    def mint(self) -> Rater:
        rater_id = uuid4()
        return Rater(rater_id, self._signer.sign(urlsafe_b64encode(rater_id.bytes).rstrip(b"=")).decode())

    def read(self, token: str) -> Rater | None:
        """The rater whose token this is; None where this service did not sign it."""
        try:
            encoded = self._signer.unsign(token)
            return Rater(UUID(bytes=urlsafe_b64decode(encoded + b"==")), token)
        except (BadSignature, ValueError):
            return None


def rater_id_of(issuer: str, subject: str) -> UUID:
    """The rater that an issuer's subject is: always the same, and another one's for no other pair of the two."""
    # A space ends the issuer, which is an address and has none.
    return uuid5(_ISSUED, f"{issuer} {subject}")
