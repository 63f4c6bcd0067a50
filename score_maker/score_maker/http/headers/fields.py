"""Header fields as they were sent."""

from fastapi import Request


def first_header(request: Request, name: bytes) -> str | None:
    """Returns the first header with this lower-case name, at a fraction of what the framework's Headers cost."""
    for each, value in request.scope["headers"]:
        if each == name:
            decoded: str = value.decode("latin-1")
            return decoded
    return None


def whole_header(request: Request, name: str) -> str | None:
    """Returns a list header, joined from all the lines that it was sent in; None if it was not sent."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None
