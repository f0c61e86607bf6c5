"""What goes over the wire: requests and answers as JSON, with examples for whoever reads the API."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

EXAMPLE: dict[str, Any] = {
    "instruction": "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
    "data": {
        "img": {
            "base64": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGPYdYkHAAPgAZAjy4TbAAAAAElFTkSuQmCC"
        }
    },
    "options": {"max_length": 16},
}
MANY: dict[str, Any] = {
    "task": "caption",
    "data": [{"img": {"upload": "first"}}, {"img": {"url": "https://example.org/cat.png"}}],
}


class Line(BaseModel):
    """An instruction, or the name of a task of the model."""

    model_config = ConfigDict(extra="forbid")

    instruction: str | None = Field(None, description="A line, as `[TEXT:question] -> [TEXT:answer]`.")
    task: str | None = Field(None, description="The name of a task of `/v1/tasks`, whose line is taken.")


class Explain(Line):
    """A line whose plan is asked for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"instruction": EXAMPLE["instruction"], "size": "tiny"}]}
    )

    size: str | None = Field(None, description="Add parameters and FLOPs of this size of model.")


class Embed(Line):
    """Rows whose views are to be embedded."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"instruction": "[IMAGE:img|TEXT:cap] ->", "data": [{"cap": "a red cat"}]}]},
    )

    data: dict[str, Any] | list[dict[str, Any]] = Field(description="A row, or several: column and value.")


class Ask(Line):
    """Rows to answer. A file is `{"base64": ...}`, `{"upload": name of its part}` or `{"url": ...}`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE, MANY]})

    data: dict[str, Any] | list[dict[str, Any]] = Field({}, description="A row, or several: column and value.")
    options: dict[str, Any] = Field({}, description="Of the search, as `beam_size`; `closed_set`, `negative_prompt`.")
    deadline: float | None = Field(None, gt=0, description="Seconds within which the answer is wanted.")


class Problem(BaseModel):
    """Why there is no answer."""

    message: str = Field(description="What is wrong, in a sentence.")
    place: str = Field(description="Where.")
    value: str = Field(description="What was found there.")
    next: str = Field(description="The next step.")
    caret: str | None = Field(None, description="Of an instruction its text, and a line with carets under the place.")
    start: int | None = Field(None, description="Of an instruction the first character of the place, from 0.")
    end: int | None = Field(None, description="The character behind the place.")
    retry_after: int | None = Field(None, description="Seconds after which asking again may do.")
    row: int | None = Field(None, description="The number of the row, where several were asked.")


class Refused(BaseModel):
    """A request that is not answered."""

    error: Problem
    request_id: str


class Candidate(BaseModel):
    """One of several answers to a row."""

    values: dict[str, Any]
    score: float | None
    probability: float | None


class Answers(BaseModel):
    """The answers in the order of the rows; null for a row that has none, whose error then stands in `errors`."""

    answers: list[dict[str, Any] | None] = Field(description="Of each row: column and value.")
    scores: list[float | None] = Field(description="Of each row the score of its answer.")
    probabilities: list[dict[str, float] | None] = Field(
        description="Of each row whose answer is one label of a closed set: label and probability."
    )
    nbest: list[list[Candidate]] | None = Field(None, description="All answers of each row, if several were asked for.")
    errors: list[Problem] = Field(description="Of the rows without an answer.")
    request_id: str


class Embeddings(BaseModel):
    """Column -> an embedding a row, of length one; of one row one embedding."""

    embeddings: dict[str, list[float] | list[list[float]]]
    request_id: str


class SlotOfLine(BaseModel):
    """A slot of an instruction, as one who fills it sees it."""

    column: str
    name: str = Field(description="As it is written: `IMAGE:img`.")
    modality: str
    side: str = Field(description="source, target, or label.")
    value: str = Field(description="What its value is called.")
    about: str = Field(description="What its value is.")
    given: bool = Field(description="Whether a row gives it; else an answer holds it.")
    repeated: bool = Field(description="Whether it holds a list.")
    optional: bool
    refers_to: str | None = Field(description="The column of what it lies in, as a box in its image.")
    labels: list[str] | None = Field(description="The closed set, as far as it is known; at most 200 of it.")
    widget: str = Field(description="What a page asks for a value with, as `image` or `table`.")
    options: dict[str, Any] = Field(
        description="The attributes that reach it, of those that are said or have a default."
    )


class Explained(BaseModel):
    """How an instruction will be carried out."""

    instruction: str = Field(description="In its canonical form.")
    text: str = Field(description="The plan as `ofasys explain` prints it.")
    plan: dict[str, Any] = Field(description="The plan as `ofasys explain --json` prints it.")
    slots: list[SlotOfLine]
    answerable: bool = Field(description="Whether this model can answer it.")
    why_not: Problem | None = Field(None, description="Why it cannot.")
    request_id: str


class TaskOfModel(BaseModel):
    """A task that the model was trained on."""

    name: str
    instructions: list[str]
    labels: dict[str, list[str]] = Field(description="Column and closed set; at most 200 labels each.")
    metrics: list[str]
    examples: list[dict[str, Any]] = Field(description="Rows to try, files as base64.")


class Attribute(BaseModel):
    """What may be written behind a comma of a slot."""

    name: str
    expects: str
    example: str
    about: str
    side: str | None


class Word(BaseModel):
    """A modality of the language."""

    tag: str
    aliases: list[str]
    about: str
    source: bool = Field(description="Whether it may stand before the arrow.")
    target: bool = Field(description="Whether it may stand behind it.")
    attributes: list[Attribute]


class Tasks(BaseModel):
    """The tasks of the model, and the words of its language."""

    model: str
    tasks: list[TaskOfModel]
    modalities: list[Word]
    url_hosts: list[str] = Field(description="Hosts from which files are fetched.")
    request_id: str


class Health(BaseModel):
    """Whether the server lives, or takes requests."""

    status: str
