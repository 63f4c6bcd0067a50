"""The pages at / and /ops and their files, which browsers cache for as long as this version runs."""

import hashlib
import re
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

_FILES = Path(__file__).resolve().with_name("static")

# Only this server's own files: no inline script or style, no other host, no framing, and no text that becomes markup
# except through the templates.
_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types lit-html",
    )
)
_HEADERS = {"Content-Security-Policy": _CONTENT_SECURITY_POLICY}
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


def _digest(folder: Path) -> str:
    """Digests all files together: files import each other, so a change of one changes the address of all."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


_VERSION = _digest(_FILES)
_IMPORT = re.compile(r'(?:from|^import) "(\.[^"]+)"', re.MULTILINE)


def _imported(module: Path, known: set[Path]) -> set[Path]:
    """Returns the modules that this one imports, itself included."""
    if module not in known:
        known.add(module)
        for target in _IMPORT.findall(module.read_text(encoding="utf-8")):
            _imported((module.parent / target).resolve(), known)
    return known


def _page(name: str, main: str) -> str:
    """Returns the page with this version's addresses; browsers fetch its modules in parallel, not one after another."""
    modules = sorted(path.relative_to(_FILES).as_posix() for path in _imported(_FILES / main, set()))
    preloads = "\n    ".join(f'<link rel="modulepreload" href="/static/{_VERSION}/{module}">' for module in modules)
    page = (_FILES / name).read_text(encoding="utf-8")
    page = page.replace("<!-- modules -->", preloads)
    return re.sub(r'(href|src)="static/', rf'\1="/static/{_VERSION}/', page)


class _StaticFiles(StaticFiles):
    """Serves the current files under the addresses of other versions too, but without caching.

    A page from before an update, or from another server process, may request those.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        of_this_version = scope["path_params"]["version"] == _VERSION
        response.headers["Cache-Control"] = _IMMUTABLE if of_this_version else _REVALIDATE
        response.headers.update(_HEADERS)
        return response


def install(app: FastAPI, *, for_operators: bool) -> None:
    """Serves the page at /, the operators' page at /ops if `for_operators`, and their files below /static/."""
    headers = _HEADERS | {"Cache-Control": _REVALIDATE}

    def serve(address: str, page: str) -> None:
        @app.api_route(address, methods=["GET", "HEAD"], include_in_schema=False)
        async def answer() -> HTMLResponse:
            return HTMLResponse(page, headers=headers)

    serve("/", _page("index.html", "main.js"))
    if for_operators:
        serve("/ops", _page("ops.html", "ops/main.js"))
    app.mount("/static/{version}", _StaticFiles(directory=_FILES))
