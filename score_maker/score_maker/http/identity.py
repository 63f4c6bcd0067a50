"""Identifies the rater of a request by its bearer token or, in a browser, by its cookie."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status
from pydantic import BaseModel, Field

from score_maker.http.dependencies import Services
from score_maker.http.headers.fields import first_header
from score_maker.http.problems.openapi import responses
from score_maker.http.problems.types import TOKEN_REQUIRED, TOO_MANY_REQUESTS, UNAVAILABLE, UNKNOWN_TOKEN, Problem
from score_maker.identity.accounts import Subject
from score_maker.identity.anonymous import Rater
from score_maker.identity.issuer_tokens import PAUSE_SECONDS, CannotVerify, IssuerTokens, UnacceptableToken

COOKIE = "scoreline_rater"
# The longest that browsers keep a cookie; each rating sets it anew.
COOKIE_SECONDS = 400 * 24 * 3600

READING = frozenset({"GET", "HEAD"})

router = APIRouter(tags=["raters"])


async def known_rater(request: Request, services: Services) -> Rater | Subject | None:
    """Returns the rater, or the issuer's subject, that the request names; None if it names none.

    An invalid cookie counts as none, because its browser cannot fix it. An invalid bearer token raises Problem, because
    its sender means somebody.
    """
    authorization = first_header(request, b"authorization")
    if isinstance(services.tokens, IssuerTokens):
        if authorization is not None:
            return await _subject(services.tokens, authorization)
        if request.method not in READING:
            raise _token_required()
        return None
    if authorization is not None:
        rater = services.tokens.read(bearer_token(authorization))
        if rater is None:
            raise _unknown_token("Send a token that POST /raters minted, as `Authorization: Bearer TOKEN`, or none.")
        return rater
    cookie = request.cookies.get(COOKIE)
    return services.tokens.read(cookie) if cookie else None


KnownRater = Annotated[Rater | Subject | None, Depends(known_rater)]


async def count_write(request: Request, services: Services, known: KnownRater) -> None:
    """Counts a write of the rater, if there is one, and of the address. Raises Problem if either exceeds its limit."""
    exceeded = await services.rate_limits.hit(
        address=request.client.host if request.client else None, rater=_limited_as(known) if known else None
    )
    if exceeded is not None:
        who = "You" if exceeded.subject == "rater" else "All raters of your network together"
        detail = f"{who} may write {exceeded.limit}; try again in {exceeded.retry_after} s. Nothing was written."
        raise Problem(TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(exceeded.retry_after)})


# For every operation that writes, before it does.
LIMITED = Depends(count_write)


def _limited_as(rater: Rater | Subject) -> str:
    """Returns the same for a subject that has no rater yet, or another one since its last was erased."""
    return rater.id.hex if isinstance(rater, Rater) else rater.key.hex()


def mint_rater(services: Services) -> Rater:
    """Returns a new rater. Raises Problem if only the issuer's subjects can rate."""
    if isinstance(services.tokens, IssuerTokens):
        raise _token_required()
    return services.tokens.mint()


def rater_after_erasure(request: Request, services: Services) -> Rater:
    """Returns a new rater for a request whose own rater was erased.

    Raises Problem for a bearer token, as for one that never existed: its sender means somebody.
    """
    if "Authorization" in request.headers:
        raise _unknown_token("The rater of this token was erased. POST /raters mints another token.")
    return mint_rater(services)


async def _subject(tokens: IssuerTokens, authorization: str) -> Subject:
    try:
        return await tokens.read(bearer_token(authorization))
    except UnacceptableToken as reason:
        raise _unknown_token(f"The token is not accepted: {reason}.") from None
    except CannotVerify:
        detail = "The issuer of the token does not answer, so the token cannot be verified. Nothing was written."
        raise Problem(UNAVAILABLE, detail, headers={"Retry-After": f"{PAUSE_SECONDS:.0f}"}) from None


def bearer_token(authorization: str) -> str:
    """Returns the bearer token in the header; an empty string, which is nobody's token, for another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _token_required() -> Problem:
    detail = "Send a token of the issuer that this service trusts, as `Authorization: Bearer TOKEN`."
    return Problem(TOKEN_REQUIRED, detail, headers={"WWW-Authenticate": "Bearer"})


def _unknown_token(detail: str) -> Problem:
    return Problem(UNKNOWN_TOKEN, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def keep_cookie(request: Request, rater: Rater | Subject) -> dict[str, str]:
    """Returns the header that gives a browser the cookie of its rater; none for clients that send a bearer token."""
    if not isinstance(rater, Rater) or first_header(request, b"authorization") is not None:
        return {}
    return _cookie(request, rater.token, COOKIE_SECONDS)


def delete_cookie(request: Request) -> dict[str, str]:
    """Returns the header that makes a browser delete its cookie."""
    return _cookie(request, "", 0)


def _cookie(request: Request, value: str, seconds: int) -> dict[str, str]:
    response = Response()
    response.set_cookie(
        COOKIE, value, max_age=seconds, httponly=True, samesite="lax", secure=request.url.scheme == "https"
    )
    return {"Set-Cookie": response.headers["Set-Cookie"]}


class RaterToken(BaseModel):
    """A new rater. Whoever holds the token is the rater: store it, and keep it secret."""

    token: str = Field(examples=["Y2hlY2tlZA.bUq3tjlyMGpYB6Np4OeVQyTg3a4"])


@router.post("/raters", status_code=201, dependencies=[LIMITED], responses=responses(TOO_MANY_REQUESTS, UNKNOWN_TOKEN))
async def create_rater(services: Services) -> RaterToken:
    """Mint a rater for a client that keeps no cookies: send the token as `Authorization: Bearer TOKEN` from then on.

    With a token from the start, a first rating that is repeated after a broken connection stays one rating.
    """
    return RaterToken(token=mint_rater(services).token)


@router.put(
    "/raters/cookie",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    dependencies=[LIMITED],
    responses=responses(UNKNOWN_TOKEN, TOO_MANY_REQUESTS),
)
async def keep_rater(request: Request, services: Services, known: KnownRater) -> Response:
    """Give a browser its cookie, or renew the one that it has.

    A browser that asks for it before its first rating can repeat that rating after a broken connection, and it stays
    one rating. Nothing is stored.
    """
    rater = known or mint_rater(services)
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers=keep_cookie(request, rater))
