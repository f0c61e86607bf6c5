"""The page at `/`, its scripts and its style: files as they stand, which ask the endpoints that any client asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

FOLDER = Path(__file__).parent
FILES = {
    "/": ("page.html", "text/html"),
    "/playground/page.css": ("page.css", "text/css"),
    "/playground/page.js": ("page.js", "text/javascript"),
    "/playground/widgets.js": ("widgets.js", "text/javascript"),
}  # path -> file, media type
# Nothing is loaded from elsewhere, nothing that an answer holds runs, and no other page frames this one. Files that a
# person chose, and answers, lie in the page itself.
SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page() -> APIRouter:
    """What a browser loads. It holds nothing of the model, so no key need be asked for it."""
    router = APIRouter(include_in_schema=False)
    for path, (name, kind) in FILES.items():
        router.add_api_route(path, _sender(name, kind), methods=["GET"], response_class=FileResponse)
    return router


def _sender(name: str, kind: str) -> Callable[[], FileResponse]:
    def send() -> FileResponse:
        return FileResponse(FOLDER / name, media_type=kind, headers=SAFE)

    return send
