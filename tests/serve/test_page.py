"""What docs/serve.md says is defended has the tests it names."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_page_names_is_there():
    named, file = [], ""
    for found in re.finditer(r"`(tests/[\w/]+\.py)?::(\w+)`", (ROOT / "docs" / "serve.md").read_text(encoding="utf8")):
        file = found[1] or file
        named.append((file, found[2]))
    known = {file: ast.parse((ROOT / file).read_text(encoding="utf8")) for file in {file for file, _ in named}}
    there = {
        (file, node.name)
        for file, tree in known.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert len(named) > 25
    assert set(named) <= there


def test_every_test_of_what_is_defended_is_named():
    text = (ROOT / "docs" / "serve.md").read_text(encoding="utf8")
    tree = ast.parse((ROOT / "tests" / "serve" / "test_defence.py").read_text(encoding="utf8"))
    tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert [name for name in tests if f"::{name}`" not in text] == []
