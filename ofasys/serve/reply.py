"""Refusals as responses."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from ofasys.serve.refusal import Refusal, refusal_of


def fault() -> Refusal:
    """What is told where the server is at fault; the log says more, by the number of the request."""
    return Refusal(500, "the server failed", place="the server", next="look for `request_id` in its log")


def refused(error: Refusal, number: str) -> JSONResponse:
    """A refusal as a response."""
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse({"error": error.to_dict(), "request_id": number}, error.status, headers)


def told(error: BaseException) -> dict[str, Any]:
    """Any error as JSON."""
    return (refusal_of(error) or fault()).to_dict()
