"""Raters identified by an issuer's JWTs: real keys, real signatures, and the issuer's JWKS over real HTTP."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from score_maker.http.identity import COOKIE
from score_maker.identity import issuer_tokens
from score_maker.identity.anonymous import RaterTokens
from score_maker.settings import EXAMPLE, Settings
from scoreline_common.settings import load
from tests.support.rating import rate
from tests.support.scripted_issuer import AUDIENCE, Key, ScriptedIssuer, ec, ed25519, rsa
from tests.support.scripted_line_provider import ScriptedLineProvider
from tests.support.serving import trusting

KEY = rsa("the-first")
STRANGE_KEY = rsa("the-first")
EC_KEY = ec("elliptic")
ED25519_KEY = ed25519("edwards")


@pytest.fixture
async def issuer() -> AsyncIterator[ScriptedIssuer]:
    async with ScriptedIssuer(KEY, EC_KEY, ED25519_KEY) as issuer:
        yield issuer


@pytest.fixture
async def trustful(
    settings: Settings, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer
) -> AsyncIterator[AsyncClient]:
    async with trusting(settings, line_provider, issuer) as client:
        yield client


async def rate_with(api: AsyncClient, token: str, value: int = 5) -> Response:
    return await rate(api, value, headers={"Authorization": f"Bearer {token}"})


async def raters(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return {str(each) for each in await connection.scalars(text("SELECT rater_id FROM scores"))}


@pytest.mark.parametrize(
    ("key", "algorithm"), [(KEY, "RS256"), (EC_KEY, "ES256"), (ED25519_KEY, "EdDSA")], ids=["RSA", "EC", "Ed25519"]
)
async def test_a_subject_is_one_rater_whichever_of_the_issuers_keys_signed_its_token(
    trustful: AsyncClient, issuer: ScriptedIssuer, engine: AsyncEngine, key: Key, algorithm: str
) -> None:
    for version in (1, 2):
        answer = await rate_with(trustful, issuer.token(key, algorithm, iat=int(time.time()) - version), value=version)
        assert (answer.status_code, answer.json()["version"]) == (202, version)
        assert "Set-Cookie" not in answer.headers
    assert (await rate_with(trustful, issuer.token(key, algorithm, sub="bob"))).json()["version"] == 1
    assert len(await raters(engine)) == 2
    mine = await trustful.get("/scores", headers={"Authorization": f"Bearer {issuer.token(key, algorithm)}"})
    assert len(mine.json()["scores"]) == 1


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hmac_signed_with_the_public_key(issuer: ScriptedIssuer) -> str:
    good = issuer.token(KEY).split(".")
    public = KEY.as_pem(private=False)
    signed = f"{encoded({'alg': 'HS256', 'kid': KEY.kid})}.{good[1]}"
    return f"{signed}.{encoded(hmac.digest(public, signed.encode(), 'sha256'))}"


def unsigned(issuer: ScriptedIssuer) -> str:
    return f"{encoded({'alg': 'none'})}.{issuer.token(KEY).split('.')[1]}."


def tampered(issuer: ScriptedIssuer) -> str:
    header, claims, signature = issuer.token(KEY).split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": "bob"}
    return f"{header}.{encoded(changed)}.{signature}"


def soon(seconds: int) -> int:
    return int(time.time()) + seconds


UNACCEPTABLE: dict[str, Callable[[ScriptedIssuer], str]] = {
    "expired": lambda issuer: issuer.token(KEY, exp=soon(-60)),
    "never expiring": lambda issuer: issuer.token(KEY, exp=None),
    "not yet valid": lambda issuer: issuer.token(KEY, nbf=soon(60)),
    "issued in the future": lambda issuer: issuer.token(KEY, iat=soon(60)),
    "for another audience": lambda issuer: issuer.token(KEY, aud="elsewhere"),
    "for no audience": lambda issuer: issuer.token(KEY, aud=None),
    "of another issuer": lambda issuer: issuer.token(KEY, iss="https://evil.example"),
    "of no issuer": lambda issuer: issuer.token(KEY, iss=None),
    "without a subject": lambda issuer: issuer.token(KEY, sub=None),
    "with an empty subject": lambda issuer: issuer.token(KEY, sub=""),
    "with a subject that is a number": lambda issuer: issuer.token(KEY, sub=17),
    "with a subject that is no text": lambda issuer: issuer.token(KEY, sub="\ud800"),
    "signed with a strange key": lambda issuer: issuer.token(STRANGE_KEY),
    "signed with an algorithm that is not allowed": lambda issuer: issuer.token(KEY, "RS512"),
    "signed with the key of another algorithm": lambda issuer: issuer.token(
        EC_KEY, "ES256", header={"kid": ED25519_KEY.kid}
    ),
    "signed with HMAC by the public key": hmac_signed_with_the_public_key,
    "not signed": unsigned,
    "tampered with": tampered,
    "without the name of its key, of which there are several": lambda issuer: issuer.token(KEY, header={"kid": None}),
    "very long": lambda issuer: issuer.token(KEY, more="x" * 10_000),
    "no JWT": lambda issuer: "nonsense",
    "of three empty parts": lambda issuer: "..",
    "with a header that is no object": lambda issuer: f"{encoded([])}.{encoded({})}.x",
    "with a header that is deeply nested": lambda issuer: f"{encoded(b'[' * 5000)}.{encoded({})}.x",
    "with a key's name that is no text": lambda issuer: f"{encoded({'alg': 'RS256', 'kid': [1]})}.{encoded({})}.x",
}


@pytest.mark.parametrize("kind", UNACCEPTABLE)
async def test_an_invalid_token_is_401_and_writes_nothing(
    trustful: AsyncClient, issuer: ScriptedIssuer, engine: AsyncEngine, kind: str
) -> None:
    answer = await rate_with(trustful, UNACCEPTABLE[kind](issuer))
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unknown-token"), answer.text
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert len(answer.json()["detail"]) > 30
    assert await raters(engine) == set()


async def test_clocks_may_differ_by_up_to_the_leeway(trustful: AsyncClient, issuer: ScriptedIssuer) -> None:
    assert (await rate_with(trustful, issuer.token(KEY, exp=soon(-10), iat=soon(10), nbf=soon(10)))).status_code == 202


async def test_a_token_for_several_audiences_is_valid_if_this_service_is_one_of_them(
    trustful: AsyncClient, issuer: ScriptedIssuer
) -> None:
    assert (await rate_with(trustful, issuer.token(KEY, aud=["elsewhere", AUDIENCE]))).status_code == 202


async def test_a_key_without_an_algorithm_may_use_those_of_the_settings(
    settings: Settings, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer
) -> None:
    async with trusting(settings, line_provider, issuer, jwt_algorithms="PS256, RS512") as api:
        assert (await rate_with(api, issuer.token(KEY, "PS256"))).status_code == 202
        assert (await rate_with(api, issuer.token(KEY, "RS512"))).status_code == 202
        assert (await rate_with(api, issuer.token(KEY, "RS256"))).status_code == 401


async def test_a_token_need_not_name_the_issuers_only_key(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    async with ScriptedIssuer(ec("alone")) as issuer, trusting(settings, line_provider, issuer) as api:
        token = issuer.token(issuer.keys[0], "ES256", header={"kid": None})
        assert (await rate_with(api, token)).status_code == 202


async def test_writes_require_a_token_and_reads_do_not_and_cookies_are_ignored(
    trustful: AsyncClient, settings: Settings, engine: AsyncEngine
) -> None:
    trustful.cookies.set(COOKIE, RaterTokens(settings.secret_key.get_secret_value()).mint().token)
    for method, body in (("POST", {"score": 5}), ("DELETE", None)):
        answer = await trustful.request(method, "/events/1/score", json=body)
        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/token-required")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "Set-Cookie" not in answer.headers
    for path in ("/events", "/events/1", "/scores"):
        assert (await trustful.get(path)).status_code == 200
    assert await raters(engine) == set()


async def test_anonymous_raters_cannot_be_created_when_an_issuer_is_configured(trustful: AsyncClient) -> None:
    for method, path in (("POST", "/raters"), ("PUT", "/raters/cookie")):
        answer = await trustful.request(method, path)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
        assert "Set-Cookie" not in answer.headers
    document = (await trustful.get("/openapi.json")).json()
    assert not [path for path in document["paths"] if path.startswith("/raters")]
    assert "POST /raters" not in document["info"]["description"]


async def test_a_new_key_of_the_issuer_is_found_without_a_restart(
    trustful: AsyncClient, issuer: ScriptedIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await rate_with(trustful, issuer.token(KEY))).status_code == 202
    monkeypatch.setattr(issuer_tokens, "PAUSE_SECONDS", 0.0)
    new = rsa("the-second")
    issuer.keys.append(new)
    answers = await asyncio.gather(*(rate_with(trustful, issuer.token(new, sub=f"rater {n}")) for n in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert (await rate_with(trustful, issuer.token(KEY))).status_code == 202


async def test_tokens_with_unknown_keys_do_not_flood_the_issuer_with_requests(
    trustful: AsyncClient, issuer: ScriptedIssuer
) -> None:
    await rate_with(trustful, issuer.token(KEY))
    asked = issuer.asked
    answers = await asyncio.gather(
        *(rate_with(trustful, issuer.token(STRANGE_KEY, header={"kid": f"made up {n}"})) for n in range(20))
    )
    assert {answer.status_code for answer in answers} == {401}
    assert issuer.asked <= asked + 1


async def test_a_key_that_the_issuer_withdraws_is_no_longer_accepted(
    settings: Settings,
    line_provider: ScriptedLineProvider,
    issuer: ScriptedIssuer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(issuer_tokens, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(issuer_tokens, "REFRESH_SECONDS", 0.02)
    async with trusting(settings, line_provider, issuer) as api:
        assert (await rate_with(api, issuer.token(KEY))).status_code == 202
        issuer.keys.remove(KEY)
        async with asyncio.timeout(20):
            while (await rate_with(api, issuer.token(KEY))).status_code != 401:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("outage", ["not there", "failing", "without keys"])
async def test_known_keys_stay_valid_while_the_issuer_is_unreachable_and_unknown_keys_are_503(
    settings: Settings,
    line_provider: ScriptedLineProvider,
    issuer: ScriptedIssuer,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    outage: str,
) -> None:
    async with trusting(settings, line_provider, issuer) as api:
        assert (await rate_with(api, issuer.token(KEY))).status_code == 202
        monkeypatch.setattr(issuer_tokens, "PAUSE_SECONDS", 0.0)
        new = rsa("the-second")
        known_keys = issuer.keys
        with capture_logs() as logs:
            match outage:
                case "not there":
                    await issuer.stop()
                case "failing":
                    issuer.answers_with = 500
                case _:
                    issuer.keys = []
            for _ in range(3):
                unknown = await rate_with(api, issuer.token(new, sub="bob"))
                assert (unknown.status_code, unknown.json()["type"]) == (503, "/problems/unavailable")
                assert int(unknown.headers["Retry-After"]) > 0
                assert (await rate_with(api, issuer.token(KEY))).status_code == 202
            assert (await rate_with(api, issuer.token(STRANGE_KEY))).status_code == 401
        assert [log["event"] for log in logs].count("issuer_keys_unreachable") == 1
        issuer.keys, issuer.answers_with = [*known_keys, new], 200
        if outage == "not there":
            await issuer.start()
        assert (await rate_with(api, issuer.token(new, sub="bob"))).status_code == 202
    assert len(await raters(engine)) == 2


async def test_score_maker_starts_without_the_issuer_serves_reads_and_accepts_ratings_once_it_is_back(
    settings: Settings, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_tokens, "PAUSE_SECONDS", 0.05)
    await issuer.stop()
    async with trusting(settings, line_provider, issuer) as api:
        assert (await api.get("/events")).status_code == 200
        assert (await rate_with(api, issuer.token(KEY))).status_code == 503
        await issuer.start()
        async with asyncio.timeout(20):
            while (await rate_with(api, issuer.token(KEY))).status_code != 202:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SCORE_MAKER_JWT_ISSUER", None),
        ("SCORE_MAKER_JWT_AUDIENCE", None),
        ("SCORE_MAKER_JWT_JWKS_URL", None),
        ("SCORE_MAKER_JWT_JWKS_URL", "file:///etc/passwd"),
        ("SCORE_MAKER_JWT_ALGORITHMS", "HS256"),
        ("SCORE_MAKER_JWT_ALGORITHMS", "RS256,none"),
        ("SCORE_MAKER_IDENTITY", "everybody"),
    ],
)
def test_jwt_mode_names_the_setting_that_is_missing_or_wrong(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str | None,
) -> None:
    good = {
        "SCORE_MAKER_IDENTITY": "jwt",
        "SCORE_MAKER_JWT_ISSUER": "https://login.example.org",
        "SCORE_MAKER_JWT_AUDIENCE": AUDIENCE,
        "SCORE_MAKER_JWT_JWKS_URL": "https://login.example.org/jwks.json",
    }
    for name, given in good.items():
        monkeypatch.setenv(name, given)
    assert load(Settings, example=EXAMPLE).identity == "jwt"
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as exit_:
        load(Settings, example=EXAMPLE)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{variable}: ")
