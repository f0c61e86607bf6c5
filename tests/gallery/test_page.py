"""The page of the real data says what the records say; pytest tests/gallery --update-golden writes its tables anew."""

import re
from pathlib import Path

from ofasys.cli.data import megabytes, tasks_by_package
from ofasys.gallery.data import PACKAGES
from ofasys.gallery.tasks import TASKS

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def tasks():
    heads = ("`gallery:`", "line", "rows", "metric", "without looking", "classical", "the recipe here")
    return table(
        heads,
        [
            [
                f"`{one.name}`: {one.title}",
                f"`{one.instructions[0]}`",
                ", ".join(f"{count:,}" for count in one.rows),
                f"`{one.metric}`",
                *(f"{figure.value:.3g}, {figure.how}" for figure in (one.trivial, one.classical)),
                "not measured" if one.expected is None else f"{one.expected.value:.3g}, {one.expected.how}",
            ]
            for one in TASKS
        ],
    )


def about():
    return table(("task", "what a row is, and how they are split"), [[f"`{one.name}`", one.about] for one in TASKS])


def packages():
    users = tasks_by_package()
    rows = [
        [
            f"`{name}` {one.version}",
            megabytes(one.bytes),
            one.licence,
            f"`{one.client}`",
            ", ".join(f"`{task}`" for task in users[name]),
            one.attribution,
        ]
        for name, one in PACKAGES.items()
    ]
    return table(("package", "MB", "licence", "client", "tasks", "whose work it is"), rows)


def test_the_page_has_the_tables(update_golden):
    text = PAGE.read_text(encoding="utf8")
    made = {"tasks": tasks(), "about": about(), "packages": packages()}
    for name, lines in made.items():
        if update_golden:
            text = re.sub(rf"<!-- {name} -->\n(\|.*\n)*", lambda _, n=name, m=lines: f"<!-- {n} -->\n{m}", text)
            PAGE.write_text(text, encoding="utf8")
        assert f"<!-- {name} -->\n{lines}" in text, "data.md differs; if that is meant: pytest --update-golden"


def test_every_package_that_is_named_is_in_its_table():
    assert [name for name in PACKAGES if f"`{name}` {PACKAGES[name].version}" not in packages()] == []
