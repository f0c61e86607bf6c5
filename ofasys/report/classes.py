"""What labels are taken for, as tables: a heat table, figures by label, and what is mixed up most."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from ofasys.metric import Confusion
from ofasys.modality.shared import media

IN_THE_HEAT = 30
LISTED = 60
MIXED = 15
LETTERS = 60  # of a label

Line = Mapping[str, Any]


def of_confusion(found: Confusion) -> str:
    """Of all samples that were answered."""
    mixed = [(true, answer, count) for true, answer, count in found.mixed(MIXED)]
    heat = _heat(found.line(IN_THE_HEAT))
    listed = found.line(len(found.labels))
    return heat + _by_label(listed) + _mixed(mixed)


def of_line(line: Line) -> str:
    """Of a line of the log, which knows the most frequent labels."""
    labels = line["labels"]
    pairs = [(labels[i], None if j is None else labels[j], n) for i, j, n in line["confusion"] if i != j]
    pairs.sort(key=lambda one: -one[2])
    return _heat(_first(line, IN_THE_HEAT)) + _by_label(line) + _mixed(pairs[:MIXED])


def _first(line: Line, most: int) -> Line:
    """The line with at most so many labels, the most frequent."""
    labels = line["labels"]
    if len(labels) <= most:
        return line
    kept = sorted(sorted(range(len(labels)), key=lambda i: -line["true"][i] - line["answered"][i])[:most])
    number: dict[int | None, int | None] = {old: new for new, old in enumerate(kept)} | {None: None}
    return {
        "labels": [labels[i] for i in kept],
        "true": [line["true"][i] for i in kept],
        "confusion": [[number[i], number[j], n] for i, j, n in line["confusion"] if i in number and j in number],
        "labels_left_out": line["labels_left_out"] + len(labels) - len(kept),
    }


def _heat(line: Line) -> str:
    """A row a true label, a column an answer; the last is no answer, before it what was answered of the labels left
    out.
    """
    labels, left_out = line["labels"], line["labels_left_out"]
    counts = {(i, j): n for i, j, n in line["confusion"]}
    heads = [*labels, *(["(another)"] if left_out else []), "(no answer)"]
    lines = [
        f"<tr><th>true \\ answer</th>{''.join(f'<th class=up><span>{_label(head)}</span></th>' for head in heads)}</tr>"
    ]
    for i, label in enumerate(labels):
        row = [counts.get((i, j), 0) for j in range(len(labels))]
        none = counts.get((i, None), 0)
        true = line["true"][i]
        row += [max(0, true - sum(row) - none)] if left_out else []
        row.append(none)
        cells = "".join(_cell(n, true, i == j, label, heads[j]) for j, n in enumerate(row))
        lines.append(f"<tr><th><span class='side'>{_label(label)}</span></th>{cells}</tr>")
    note = f" The {len(labels)} most frequent of {len(labels) + left_out:,} labels." if left_out else ""
    return (
        "<p class='muted'>A row a true label, a column an answer; the darker, the larger its share of the "
        f"row.{note}</p>"
        f"<div class='scroll'><table class='heat'>{''.join(lines)}</table></div>"
    )


def _cell(count: int, of: int, right: bool, true: str, answer: str) -> str:
    if not count:
        return "<td></td>"
    share = count / of if of else 0.0
    colour = "43,138,62" if right else "201,42,42"
    text = ";color:#fff" if share > 0.6 else ""
    told = html.escape(f"{count} of {of} {true} answered as {answer}", quote=True)
    return f"<td style='background:rgba({colour},{0.12 + 0.78 * share:.2f}){text}' title='{told}'>{count:,}</td>"


def _by_label(line: Line) -> str:
    """The most frequent labels and the worst, by F1."""
    labels, numbers = line["labels"], range(len(line["labels"]))
    note, shown = "", list(numbers)
    if len(labels) > LISTED:
        frequent = sorted(numbers, key=lambda i: (-line["true"][i], i))[: LISTED // 2]
        worst = sorted((i for i in numbers if line["true"][i]), key=lambda i: (line["f1"][i], -line["true"][i], i))
        rest = [i for i in worst if i not in set(frequent)][: LISTED - len(frequent)]
        shown = sorted([*frequent, *rest])
        note = f"the {len(frequent)} most frequent and the {len(rest)} worst of the others, "
    left_out = line["labels_left_out"] + len(labels) - len(shown)
    said = f"<p class='muted'>Here {note}{left_out:,} labels are left out.</p>" if left_out else ""
    rows = [
        [
            labels[i][:LETTERS],
            *(f"{line[name][i]:.3f}" for name in ("precision", "recall", "f1")),
            f"{line['true'][i]:,}",
            f"{line['answered'][i]:,}",
        ]
        for i in shown
    ]
    head = ("label", "precision", "recall", "F1", "true", "answered")
    made = media.table(head, rows, "data numbers")
    return (
        f"<details{' open' if len(rows) <= 12 else ''}><summary>Precision, recall and F1 by "
        f"label</summary>{said}{made}</details>"
    )


def _mixed(pairs: Sequence[tuple[str, str | None, int]]) -> str:
    if not pairs:
        return ""
    rows = [[true[:LETTERS], "(no answer)" if found is None else found[:LETTERS], f"{n:,}"] for true, found, n in pairs]
    made = media.table(("true", "answered as", "rows"), rows)
    return f"<details><summary>Most often mixed up</summary>{made}</details>"


def _label(label: str) -> str:
    cut = label if len(label) <= LETTERS else label[: LETTERS - 1] + "…"
    return f"<bdi title='{html.escape(label[:500], quote=True)}'>{html.escape(cut)}</bdi>"
