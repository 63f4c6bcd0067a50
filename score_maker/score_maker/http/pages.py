"""The page at / and its files, which a browser keeps for as long as they are the ones of this version."""

import hashlib
import re
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

_FILES = Path(__file__).with_name("static")

# Nothing but this server's own files: no script or style within the page, no other host, no frame around it, and no
# text that becomes markup but through the templates.
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
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"


def _digest(folder: Path) -> str:
    """Names the content of all files at once: one that changed is imported by others, whose address changes too."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


_VERSION = _digest(_FILES)
_MODULES = sorted(path.relative_to(_FILES).as_posix() for path in _FILES.rglob("*.js") if path.name != "boot.js")


def _page() -> str:
    """index.html with the addresses of this version; the modules are fetched together and not one after another."""
    preloads = "\n    ".join(f'<link rel="modulepreload" href="/static/{_VERSION}/{module}">' for module in _MODULES)
    page = (_FILES / "index.html").read_text(encoding="utf-8")
    page = page.replace("<!-- modules -->", preloads)
    return re.sub(r'(href|src)="static/', rf'\1="/static/{_VERSION}/', page)


class _StaticFiles(StaticFiles):
    """Under the address of another version, which a page from before an update or from another server process may
    ask for, the files are the present ones, to be asked for again each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        of_this_version = scope["path_params"]["version"] == _VERSION
        response.headers["Cache-Control"] = _FOR_GOOD if of_this_version else _ASK_EACH_TIME
        response.headers.update(_HEADERS)
        return response


def install(app: FastAPI) -> None:
    """Serves the page at / and its files below /static/."""
    page = _page()
    headers = _HEADERS | {"Cache-Control": _ASK_EACH_TIME}

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page_of_events() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    app.mount("/static/{version}", _StaticFiles(directory=_FILES))
