"""The body of a request: JSON, or multipart/form-data with files; read under limits, kept in memory alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ofasys.errors import nearest
from ofasys.serve.limits import Limits
from ofasys.serve.media import count_cells
from ofasys.serve.refusal import Refusal

Asked = TypeVar("Asked", bound=BaseModel)
JSON, FORM = "application/json", "multipart/form-data"
WHOLE = "request"  # the field of a form that holds all of a request as JSON
_BOUNDARY = re.compile(r';\s*boundary="?[^";]{1,70}"?\s*(;|$)', re.IGNORECASE)


@dataclass(frozen=True)
class Body(Generic[Asked]):
    """asked: what was asked. uploads: the files that came with it, by the name of their field."""

    asked: Asked
    uploads: Mapping[str, bytes]


class _InMemory(MultiPartParser):
    """Files stay in memory: nothing of a stranger is written, its name least of all."""

    spool_max_size = 1 << 62


async def read(request: Request, kind: type[Asked], limits: Limits) -> Body[Asked]:
    """What a request asks. Errors: Refusal for one that is too large or too slow, of another type, or no JSON."""
    try:
        async with asyncio.timeout(limits.slow_body):
            data = b"".join([part async for part in _bounded(request, limits.body)])
    except TimeoutError:
        raise Refusal(
            408,
            f"the request was not there within {limits.slow_body:g} s",
            place="the body",
            next="send it faster, or a smaller one",
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "the request broke off", place="the body", next="send it whole") from None
    sent = request.headers.get("content-type", "")
    named = sent.partition(";")[0].strip().lower()
    if named == JSON:
        return Body(_model(kind, _parsed(data, "the body"), limits), {})
    if named == FORM:
        return await _of_form(request.headers, data, kind, limits)
    step = f"send {JSON}, or {FORM} with files"
    raise Refusal(415, f"a request of {named or 'no type'}", place="header content-type", value=sent, next=step)


async def _bounded(request: Request, most: int) -> AsyncIterator[bytes]:
    count = 0
    said = request.headers.get("content-length", "")
    if said.isdecimal() and len(said) < 20 and int(said) > most:
        raise _too_large(most)
    async for part in request.stream():
        count += len(part)
        if count > most:
            raise _too_large(most)
        yield part


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"a request of more than {most:,} bytes", place="the body", next="send fewer or smaller files")


def _parsed(data: bytes | str, place: str) -> Any:
    """What JSON holds. Errors: Refusal, for numbers that JSON has not too."""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        shown = data[:40].decode("utf8", "replace") if isinstance(data, bytes) else data[:40]
        raise Refusal(400, f"no JSON: {error}", place=place, value=shown, next="send one JSON object") from None


def _model(kind: type[Asked], found: Any, limits: Limits) -> Asked:
    if count_cells(found, limits.cells) > limits.cells:
        step = f"at most {limits.cells:,} are taken"
        raise Refusal(413, "a request of too many values", place="the body", next=step)
    if not isinstance(found, dict):
        step = f"send an object with {', '.join(kind.model_fields)}"
        raise Refusal(
            422, f"a request is no {type(found).__name__}", place="the body", value=str(found)[:40], next=step
        )
    if unknown := [name for name in found if name not in kind.model_fields]:
        step = f"{nearest(unknown[0], kind.model_fields)}there are {', '.join(kind.model_fields)}"
        raise Refusal(422, f"no field {unknown[0][:40]!r}", place=unknown[0][:40], next=step)
    try:
        return kind.model_validate(found, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"][:2])
        step = f"{first['msg']}; see /openapi.json"
        raise Refusal(422, f"{place}: {first['msg']}", place=place, value=str(first["input"])[:40], next=step) from None


async def _of_form(headers: Headers, data: bytes, kind: type[Asked], limits: Limits) -> Body[Asked]:
    async def whole() -> AsyncIterator[bytes]:
        yield data

    if not _BOUNDARY.search(headers.get("content-type", "")):
        step = "send it with its boundary, as every client of HTTP does"
        raise Refusal(400, "a form without a boundary", place="header content-type", next=step)
    try:
        parser = _InMemory(
            headers,
            whole(),  # type: ignore[arg-type]
            max_files=limits.uploads,
            max_fields=len(kind.model_fields) + 1,
            max_part_size=limits.body,
        )
        form = await parser.parse()
    except (MultiPartException, FormParserError, ValueError, KeyError, AssertionError) as error:
        said = getattr(error, "message", None) or str(error) or type(error).__name__
        raise Refusal(
            400, f"no form: {said}", place="the body", next="send multipart/form-data, as curl -F does"
        ) from None
    uploads: dict[str, bytes] = {}
    fields: dict[str, str] = {}
    try:
        for name, value in form.multi_items():
            known = uploads if isinstance(value, UploadFile) else fields
            if name in uploads or name in fields:
                raise Refusal(422, f"two parts are called {name[:40]!r}", place=name[:40], next="send each once")
            known[name] = await value.read() if isinstance(value, UploadFile) else value  # type: ignore[assignment]
    finally:
        await form.close()
    found = _of_fields(fields, kind)
    _fill(found, uploads)
    return Body(_model(kind, found, limits), uploads)


def _of_fields(fields: Mapping[str, str], kind: type[BaseModel]) -> Any:
    """A request of the fields of a form: of one field that holds all of it as JSON, or of a field each."""
    if WHOLE in fields:
        if len(fields) > 1:
            step = f"give all within {WHOLE}"
            raise Refusal(422, f"a form with {WHOLE} and other fields", place=WHOLE, next=step)
        return _parsed(fields[WHOLE], WHOLE)
    texts = ("instruction", "task", "size")
    return {name: value if name in texts else _parsed(value, name) for name, value in fields.items()}


def _fill(found: Any, uploads: Mapping[str, bytes]) -> None:
    """Files that no value names are the values of the columns they are called after, where there is one row."""
    if not isinstance(found, dict) or not isinstance(row := found.setdefault("data", {}), dict):
        return
    for name in uploads:
        if name not in row and not any(isinstance(one, dict) and one.get("upload") == name for one in row.values()):
            row[name] = {"upload": name}
