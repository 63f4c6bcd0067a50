"""Whose request it is: the rater that a bearer token or, in a browser, the cookie proves."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from score_maker.http.problems import TOO_MANY_REQUESTS, UNKNOWN_TOKEN, Problem, responses
from score_maker.http.state import State
from score_maker.raters import Rater

COOKIE = "scoreline_rater"
# The longest that browsers keep one; it is set anew by each rating.
COOKIE_SECONDS = 400 * 24 * 3600

router = APIRouter(tags=["raters"])


def known_rater(request: Request, state: State) -> Rater | None:
    """The rater of the request; None where it names none. A cookie that does not hold is as good as none, since its
    browser cannot mend it; a bearer token that does not hold is a Problem, since its sender means somebody."""
    if authorization := request.headers.get("Authorization"):
        scheme, _, token = authorization.partition(" ")
        rater = state.tokens.read(token.strip()) if scheme.lower() == "bearer" else None
        if rater is None:
            detail = "Send a token that POST /raters minted, as `Authorization: Bearer TOKEN`, or none."
            raise Problem(UNKNOWN_TOKEN, detail, headers={"WWW-Authenticate": "Bearer"})
        return rater
    cookie = request.cookies.get(COOKIE)
    return state.tokens.read(cookie) if cookie else None


KnownRater = Annotated[Rater | None, Depends(known_rater)]


def rater(request: Request, response: Response, state: State, known: KnownRater) -> Rater:
    """The rater of the request, made up where it names none; a browser is given its cookie."""
    result = known or state.tokens.mint()
    if "Authorization" not in request.headers:
        response.set_cookie(
            COOKIE,
            result.token,
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
    return result


AnyRater = Annotated[Rater, Depends(rater)]


async def limit_writes(request: Request, state: State, known: KnownRater) -> None:
    """Raises Problem where the rater of the request, or its address, writes too often."""
    exceeded = await state.rate_limits.hit(
        address=request.client.host if request.client else None, rater_id=known.id if known else None
    )
    if exceeded is not None:
        whose = "You" if exceeded.subject == "rater" else "All raters of your network together"
        detail = f"{whose} may write {exceeded.limit}; try again in {exceeded.retry_after} s. Nothing was written."
        raise Problem(TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(exceeded.retry_after)})


# For every operation that writes, before it does.
LIMITED = Depends(limit_writes)


class RaterToken(BaseModel):
    """A new rater. Whoever holds the token is the rater: keep it secret, and keep it."""

    token: str = Field(examples=["Y2hlY2tlZA.bUq3tjlyMGpYB6Np4OeVQyTg3a4"])


@router.post("/raters", status_code=201, dependencies=[LIMITED], responses=responses(TOO_MANY_REQUESTS, UNKNOWN_TOKEN))
async def create_rater(state: State) -> RaterToken:
    """Mint a rater for a client that keeps no cookies: send the token as `Authorization: Bearer TOKEN` from then on.

    With a token from the start, a first rating that is repeated after a broken connection stays one rating.
    """
    return RaterToken(token=state.tokens.mint().token)
