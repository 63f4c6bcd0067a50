"""Who may use /ops: requests with a token of the operators."""

import hmac
from hashlib import sha256

from fastapi import Depends, Request

from score_maker.http.dependencies import Services
from score_maker.http.identity import READING, bearer_token, count_write
from score_maker.http.problems.types import OPERATOR_TOKEN_REQUIRED, Problem


async def operator(request: Request, services: Services) -> None:
    """Raises Problem unless the request has an operators' token.

    An operator's writes, and every attempt with another token, count against the limit of the address.
    """
    given = bearer_token(request.headers.get("Authorization", ""))
    # All tokens are compared, so that the duration does not reveal which one is similar.
    is_operator = sum(_are_equal(given, token) for token in services.operators_tokens) > 0
    if not is_operator or request.method not in READING:
        await count_write(request, services, None)
    if not is_operator:
        detail = "Send the operators' token as `Authorization: Bearer TOKEN`."
        raise Problem(OPERATOR_TOKEN_REQUIRED, detail, headers={"WWW-Authenticate": "Bearer"})


# For every operation below /ops.
OPERATOR = Depends(operator)


def _are_equal(given: str, expected: str) -> bool:
    """Compares in a time that depends neither on where they differ nor on the length of the expected one."""
    return hmac.compare_digest(sha256(given.encode()).digest(), sha256(expected.encode()).digest())
