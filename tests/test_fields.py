"""What a field of a public dataclass means is said where it is declared."""

import ast
import re
from pathlib import Path

import pytest

import ofasys

SOURCES = sorted(Path(ofasys.__file__).parent.rglob("*.py"))


def undocumented(text):
    """`Class.field` of each public field that nothing is said of.

    Said it is by a string below it, by its name in the docstring of the class, by `about` of an option, or by its type,
    where it is called as that is: `layout: Layout`. A `name` is one.
    """
    found = []
    for cls in ast.walk(ast.parse(text)):
        if isinstance(cls, ast.ClassDef) and not cls.name.startswith("_") and is_record(cls):
            said = set(re.findall(r"\w+", ast.get_docstring(cls) or "")) | {"name"}
            for field, below in zip(cls.body, [*cls.body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign) and not (is_text(below) or is_said(field, said)):
                    found.append(f"{cls.name}.{ast.unparse(field.target)}")
    return found


def is_record(cls):
    made = [ast.unparse(one) for one in (*cls.decorator_list, *cls.bases)]
    return any(one.startswith("dataclass") or one == "NamedTuple" for one in made)


def is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_said(field, said):
    name = ast.unparse(field.target)
    if name.startswith("_") or name in said:
        return True
    if isinstance(field.value, ast.Call) and ast.unparse(field.value.func) == "option":
        return any(word.arg == "about" for word in field.value.keywords)
    types = re.findall(r"[A-Z]\w*", ast.unparse(field.annotation))
    return name in {re.sub("(?<=[a-z])(?=[A-Z])", "_", kind).lower() + many for kind in types for many in ("", "s")}


@pytest.mark.parametrize("room", sorted({file.parent for file in SOURCES}), ids=lambda room: room.name)
def test_what_a_field_means_stands_with_it(room):
    files = [file for file in SOURCES if file.parent == room]
    assert {str(file): bare for file in files if (bare := undocumented(file.read_text(encoding="utf8")))} == {}


@pytest.mark.parametrize(
    "field",
    [
        'size: int\n    """Of it."""',
        "seen: int",
        "_size: int",
        "name: str",
        "layout: Layout | None = None",
        "stream_states: Sequence[StreamState]",
        "states: tuple[State, ...]",
        'size: int = option(1, about="how large")',
        "size = 3",
    ],
)
def test_fields_of_which_something_is_said(field):
    assert undocumented(f'@dataclass(frozen=True)\nclass A:\n    """seen: how often."""\n\n    {field}\n') == []


@pytest.mark.parametrize("field", ["size: int", "size: int = option(1)", "often: Layout", "size: int\n    seen: int"])
def test_fields_of_which_nothing_is_said(field):
    for head in ("@dataclass\nclass A:", "@dataclass()\nclass A:", "class A(NamedTuple):"):
        text = f'{head}\n    """seen: how."""\n\n    {field}\n'
        assert undocumented(text) == [f"A.{field.partition(':')[0]}"]
    assert undocumented(f"@dataclass\nclass _A:\n    {field}\n") == []
