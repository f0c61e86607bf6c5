"""The main page: one tiny model, six tasks on drawings of emoji and on scenes composed of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ofasys.gallery import emoji
from ofasys.gallery.pages.page import Asked, Judged, Judging, Line, Page, Shown
from ofasys.modality.box.draw import draw
from ofasys.modality.shared import media
from ofasys.modality.shared.read_image import read_image

if TYPE_CHECKING:
    from ofasys.planner import Plan
    from ofasys.task.task import Task

CAPTION = Line("caption", "[IMAGE:img] what does the image describe? -> [TEXT:cap]", "cider")
GROUP = Line("group", "[IMAGE:img] which group does it belong to? -> [TEXT:group,closed_set]", "accuracy")
GROUNDING = Line(
    "grounding", '[IMAGE:img] which region does the text " [TEXT:phrase] " describe? -> [BOX:box]', "iou_accuracy"
)
GROUNDED_CAPTION = Line(
    "grounded_caption", "[IMAGE:img] what does the region describe? region: [BOX:box] -> [TEXT:cap]", "accuracy"
)
DETECTION = Line("detection", "[IMAGE:img] detect the objects in the image. -> ([BOX:box] [TEXT:label])*", "detection")
VQA = Line("vqa", "[IMAGE:img] [TEXT:question] -> [TEXT:answer]", "accuracy")

ROWS: Mapping[Line, Callable[..., emoji.Rows]] = {
    CAPTION: emoji.caption,
    GROUP: emoji.group,
    GROUNDING: emoji.grounding,
    GROUNDED_CAPTION: emoji.grounded_caption,
    DETECTION: emoji.detection,
    VQA: emoji.vqa,
}
SETTINGS = {"IMAGE.size": 64, "IMAGE.patch": 8, "BOX.bins": 16}
SHOWN = 10  # test rows of a task
SCALE = 3  # times that a picture is enlarged
GREY = "#adb5bd"  # of true boxes


def _tasks(asked: Asked) -> Sequence[Task]:
    return [_task(line, asked) for line in ROWS]


def _task(line: Line, asked: Asked) -> Task:
    from ofasys.planner import plan

    scopes = {slot.modality for slot in plan(line.instruction).slots}
    train, valid, test = (_rows(line, split, asked) for split in ("train", "valid", "test"))
    return line.task(
        train,
        valid=valid,
        test=test,
        closed_set=emoji.GROUPS if line is GROUP else None,
        micro_batch_size=asked.some(16, 4),
        settings={name: value for name, value in SETTINGS.items() if name.split(".")[0] in scopes},
        generate={"max_length": 32},
    )


def _rows(line: Line, split: str, asked: Asked) -> Sequence[Mapping[str, Any]]:
    rows = ROWS[line](split, seed=asked.seed)
    return rows[: asked.some(len(rows), 6)] if asked.brief else rows


def _show(shown: Shown) -> str:
    parts = [
        "<p class='muted'>Boxes: the answer in solid colours, the truth in grey. Pictures are from the test sets. "
        "Drawings: Noto Emoji (Apache-2.0) and Fluent Emoji (MIT).</p>"
    ]
    for name, judged in shown.tasks.items():
        figures = [_figure(judged, i) for i in media.spread(len(judged.rows), SHOWN)]
        parts.append(f"<h3>{media.text(name.replace('_', ' '))}</h3>{media.row(figures)}")
    return "".join(parts)


def _figure(judged: Judged, i: int) -> str:
    """A test row: its picture with the boxes, what was asked, what was answered."""
    plan, row = judged.task.plan, judged.rows[i]
    picture = _picture(plan, row, judged.predictions[i], judged.references[i])
    asked = [str(row[slot.column]) for slot in plan.on("source") if slot.value == "text"]
    lines = [f"<span class='muted'>{media.text(' '.join(asked))}</span>"] if asked else []
    lines += [media.verdict(judged.predictions[i][column], judged.references[i][column]) for column in _in_words(plan)]
    return f"<figure>{media.picture(picture, picture.width)}<figcaption>{'<br>'.join(lines)}</figcaption></figure>"


def _picture(plan: Plan, row: Mapping[str, Any], prediction: Mapping[str, Any], truth: Mapping[str, Any]) -> Any:
    """The row's picture, with the boxes of the source, or those answered over the true ones."""
    picture = read_image(row["img"])
    true: list[Any] = []
    boxes: list[Any] = []
    labels: list[str] = []
    for slot in plan.slots:
        if slot.modality != "BOX":
            continue
        if slot.side == "source":
            boxes = [row[slot.column]]
        elif slot.group is None:
            true, boxes = [truth[slot.column]], [prediction[slot.column]]
        else:
            true, boxes = truth[slot.column], prediction[slot.column]
            labels = prediction[_in_words(plan)[0]]
    picture = draw(picture, true, scale=SCALE, colours=(GREY,))
    return draw(picture, [[SCALE * c for c in box] for box in boxes], labels)


def _in_words(plan: Plan) -> list[str]:
    """The target's columns that are no boxes."""
    return [slot.column for slot in plan.on("target") if slot.modality != "BOX"]


PAGE = Page(
    "pictures",
    "One model, six tasks",
    "Drawings of emoji in two styles, and scenes composed of eight of them; each task is one line. Captions are asked "
    "for in a style that was held out, groups of emoji seen in no style; scenes of the test are of the same eight "
    "things, in other places.",
    tuple(ROWS),
    _tasks,
    _show,
    lr=7e-4,
    optimizer="muon",
    text_pieces=8000,
    minutes=5.0,
    judging=Judging(looked_at=2000, batch_size=64),
    at_root=True,
)
