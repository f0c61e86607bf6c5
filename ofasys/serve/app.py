"""The endpoints. Each refusal is JSON with place, value and next step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ofasys.serve.body import FORM, JSON, read
from ofasys.serve.desk import Desk, while_there
from ofasys.serve.gate import Gate
from ofasys.serve.metrics import Metrics
from ofasys.serve.playground.routes import page
from ofasys.serve.refusal import Refusal, closing
from ofasys.serve.reply import refused
from ofasys.serve.service import Service
from ofasys.serve.wire import Answers, Ask, Embed, Embeddings, Explain, Explained, Health, Refused, Tasks

STATUSES = {
    400: "No JSON, or no form.",
    401: "No key, or a wrong one.",
    403: "From another site, or by another name.",
    404: "No such task.",
    408: "The request was too slow.",
    413: "Too large.",
    415: "Of another type.",
    422: "Wrong: an instruction, with its caret; a value; an option.",
    429: "Too many wait; ask again.",
    500: "A fault of the server.",
    503: "The server is ending; ask again.",
    504: "Not there in time.",
}


def create_app(service: Service, keys: Sequence[str] = (), hosts: Sequence[str] | None = None) -> FastAPI:
    """The application. keys: those that a request may have; none: no key is asked for. hosts: names by which the server
    may be called; None: any.
    """
    desk = Desk(service, Metrics(service))
    app = FastAPI(
        title="ofasys",
        version="1",
        description="A multi-modal model that answers instructions.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.desk = desk
    _answers(app, desk)
    _about(app, desk)
    _states(app, desk)
    app.include_router(page())
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_middleware(Gate, desk=desk, keys=keys, hosts=hosts)
    return app


def _answers(app: FastAPI, desk: Desk) -> None:
    limits = desk.service.limits

    @app.post("/v1/inference", tags=["answers"], **_asked(Ask, Answers))
    async def inference(request: Request) -> Response:
        """Answer an instruction, or a task, for one row or several."""
        body = await read(request, Ask, limits)
        found = await while_there(request, desk.answers(body, desk.rows(body.asked)))
        return _json(request, found)

    @app.post("/v1/inference/stream", tags=["answers"], **_asked(Ask, None))
    async def stream(request: Request) -> Response:
        """Answer one row as server-sent events: `text` (more of a text), `slot` (a value is whole), `done`, `error`."""
        body = await read(request, Ask, limits)
        if len(rows := desk.rows(body.asked)) != 1:
            raise Refusal(422, f"{len(rows)} rows", place="data", value=str(len(rows)), next="a stream answers one row")
        events = await desk.events(body, rows[0], request.state.request_id)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})

    @app.post("/v1/embed", tags=["answers"], **_asked(Embed, Embeddings))
    async def embed(request: Request) -> Response:
        """Embed the views of a contrast, `[IMAGE:img|TEXT:cap] ->`."""
        body = await read(request, Embed, limits)
        return _json(request, {"embeddings": await desk.embeddings(body, desk.rows(body.asked))})


def _about(app: FastAPI, desk: Desk) -> None:
    service = desk.service

    @app.post("/v1/explain", tags=["about"], **_asked(Explain, Explained))
    async def explain(request: Request) -> Response:
        """How a line will be carried out, or where it is wrong."""
        asked = (await read(request, Explain, service.limits)).asked
        line = await desk.made(service.line, asked)
        return _json(request, await desk.made(service.explain, line, asked.size))

    @app.get("/v1/tasks", tags=["about"], response_model=Tasks)
    async def tasks(request: Request) -> Response:
        """The tasks of the model, and the words of its language."""
        return _json(request, await desk.made(service.tasks))


def _states(app: FastAPI, desk: Desk) -> None:
    @app.get("/healthz", tags=["state"], response_model=Health)
    async def healthz() -> Response:
        """Whether the server lives."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", tags=["state"], response_model=Health, responses=_refusals(503))
    async def readyz() -> Response:
        """Whether it takes requests."""
        if desk.ending:
            raise closing()
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", tags=["state"], response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(desk.metrics.text(), media_type=desk.metrics.kind)


def _json(request: Request, found: dict[str, Any]) -> Response:
    return JSONResponse(found | {"request_id": request.state.request_id})


def _refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Refused, "description": STATUSES[code]} for code in codes or STATUSES}


def _asked(kind: type[BaseModel], answer: type[BaseModel] | None) -> dict[str, Any]:
    """What OpenAPI is told of an endpoint: its body is JSON, or a form whose field `request` is that JSON."""
    form = {
        "type": "object",
        "properties": {"request": {"type": "string", "description": "The request as JSON."}},
        "required": ["request"],
        "additionalProperties": {"type": "string", "format": "binary"},
    }
    content = {JSON: {"schema": kind.model_json_schema()}, FORM: {"schema": form}}
    told: dict[str, Any] = {"openapi_extra": {"requestBody": {"required": True, "content": content}}}
    if answer is None:
        events = {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events."}
        return told | {"response_class": StreamingResponse, "responses": {200: events, **_refusals()}}
    return told | {"response_model": answer, "responses": _refusals()}


async def _of_framework(request: Request, error: Exception) -> Response:
    """No such page, or another method than it takes."""
    assert isinstance(error, HTTPException)
    step = "see /openapi.json"
    made = Refusal(error.status_code, str(error.detail), place=request.url.path[:80], value=request.method, next=step)
    response = refused(made, request.state.request_id)
    response.headers.update(error.headers or {})
    return response
