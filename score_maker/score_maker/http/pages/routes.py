"""The pages at / and /ops and their files, which a browser keeps for as long as they are the ones of this version."""

import hashlib
import re
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

_FILES = Path(__file__).resolve().with_name("static")

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
_HEADERS = {"Content-Security-Policy": _CONTENT_SECURITY_POLICY}
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
_IMPORT = re.compile(r'(?:from|^import) "(\.[^"]+)"', re.MULTILINE)


def _imported(module: Path, known: set[Path]) -> set[Path]:
    """The modules that this one needs, itself among them."""
    if module not in known:
        known.add(module)
        for target in _IMPORT.findall(module.read_text(encoding="utf-8")):
            _imported((module.parent / target).resolve(), known)
    return known


def _page(name: str, main: str) -> str:
    """The page with the addresses of this version; its modules are fetched together and not one after another."""
    modules = sorted(path.relative_to(_FILES).as_posix() for path in _imported(_FILES / main, set()))
    preloads = "\n    ".join(f'<link rel="modulepreload" href="/static/{_VERSION}/{module}">' for module in modules)
    page = (_FILES / name).read_text(encoding="utf-8")
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


def install(app: FastAPI, *, for_operators: bool) -> None:
    """Serves the page at /, the operators' at /ops where there are any, and their files below /static/."""
    headers = _HEADERS | {"Cache-Control": _ASK_EACH_TIME}

    def serve(address: str, page: str) -> None:
        @app.api_route(address, methods=["GET", "HEAD"], include_in_schema=False)
        async def answer() -> HTMLResponse:
            return HTMLResponse(page, headers=headers)

    serve("/", _page("index.html", "main.js"))
    if for_operators:
        serve("/ops", _page("ops.html", "ops/main.js"))
    app.mount("/static/{version}", _StaticFiles(directory=_FILES))
