"""The house stands: imports go down only. See docs/design/0001-house.md."""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from ofasys.criterion import CRITERIA, KINDS
from ofasys.generator import GENERATORS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ofasys"
PAGE = (ROOT / "docs" / "design" / "0001-house.md").read_text(encoding="utf8")
SHARED = {"modality", "symbols", "vocabulary", "shared", ""}  # what every modality may import of its own room


def floors():
    """Room -> floor, as the design page lists them."""
    listed = re.search(r"^Room floors.*?:\n(.*?)\n\n", PAGE + "\n\n", re.S | re.M)[1]
    found = {}
    for rooms, floor in re.findall(r"([a-z, ]+?) (\d+)[;.]", " ".join(listed.split())):
        found |= {room.strip(): int(floor) for room in rooms.split(",")}
    return found


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf8"))


@cache
def nodes_of(path):
    return tuple(ast.walk(tree_of(path)))


@cache
def hinting(path):
    """The nodes of a file that are there for hints alone."""
    tests = [node for node in nodes_of(path) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    return {id(node) for block in tests for line in block.body for node in ast.walk(line)}


@cache
def imports(path):
    """Modules of this package that a file imports, wherever it does so: (dotted parts below the root, line)."""
    here = path.relative_to(PACKAGE.parent).with_suffix("").parts
    found = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = list(here[: len(here) - node.level]) if node.level else []
            module = above + (node.module.split(".") if node.module else [])
            names = [[*module, a.name] for a in node.names] if len(module) == 1 or not node.module else [module]
        else:
            continue
        found += [(tuple(name[1:]), node.lineno) for name in names if name[0] == "ofasys"]
    return found


# Rooms in which a part hints at the type of its owner, which imports it: a session at its model, what prints a plan at
# the plan, the parts of a run at its trainer. Nothing runs by it, and each part is read without its owner.
HINTED = {"model", "planner", "train"}


def needs(path, hints=False):
    """The files of this package that a file imports, at once or within a function. hints: for hints alone too."""
    unused = set() if hints else hinting(path)
    here = list(path.relative_to(PACKAGE.parent).parts[:-1])
    for node in nodes_of(path):
        if id(node) in unused or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        above = here[: len(here) - node.level + 1] if getattr(node, "level", 0) else []
        module = getattr(node, "module", None)
        for name in node.names:
            parts = [*above, *(module.split(".") if module else []), *name.name.split(".")]
            if parts[0] == PACKAGE.name:
                found = file_of(parts) or file_of(parts[:-1])
                assert found, f"{path.relative_to(ROOT)}:{node.lineno} imports {'.'.join(parts)}, which is no file"
                yield found


def file_of(parts):
    """The file of a module by the parts of its name; None for what is none."""
    place = PACKAGE.parent.joinpath(*parts)
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def circle_in(graph):
    """A way along a graph (place -> places) that comes back to where it began; none if there is no such way."""
    done = set()

    def circle_from(place, way):
        if place in way:
            return [*way[way.index(place) :], place]
        if place in done:
            return []
        found = next(filter(None, (circle_from(other, [*way, place]) for other in sorted(graph[place]))), [])
        done.add(place)
        return found

    return next(filter(None, (circle_from(place, []) for place in sorted(graph))), [])


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
NAMES = {path.stem for path in PACKAGE.iterdir()} - {"__init__", "__pycache__"}


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_every_room_has_a_floor_and_every_floor_a_room():
    assert {room_of(path) for path in FILES} == set(floors())


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_imports_go_down_only(room):
    floor, wrong = floors(), []
    for path in FILES:
        if room_of(path) != room:
            continue
        for target, line in imports(path):
            where = f"{path.relative_to(ROOT)}:{line}"
            if not target or target[0] not in NAMES:
                wrong.append(f"{where} imports from the package root")
            elif target[0] != room and floor[target[0]] >= floor[room]:
                wrong.append(f"{where} imports {target[0]}, floor {floor[target[0]]}, not below {floor[room]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_no_room_imports_in_a_circle(room):
    """Which file is to be read first has an answer.

    Imports within a function count, and those for hints alone but in the rooms that are listed. A package that Python
    runs because a module within it is asked for does not.
    """
    own = {path for path in FILES if room_of(path) == room}
    for hints in (False, room not in HINTED):
        circle = circle_in({path: {other for other in needs(path, hints) if other in own} - {path} for path in own})
        assert not circle, " -> ".join(str(path.relative_to(PACKAGE)) for path in circle)


def test_a_circle_is_found():
    assert circle_in({1: {2, 3}, 2: {3}, 3: set(), 4: {1, 2}}) == []
    assert circle_in({1: {2}, 2: {3, 4}, 3: set(), 4: {5}, 5: {2}}) == [2, 4, 5, 2]
    assert circle_in({1: {1}}) == [1, 1]


def test_no_modality_imports_another():
    wrong = []
    for path in (PACKAGE / "modality").rglob("*.py"):
        own = path.relative_to(PACKAGE / "modality").with_suffix("").parts[0]
        if own in ("registry", "__init__"):
            continue
        allowed = {own, *SHARED} if own not in SHARED else SHARED
        for target, line in imports(path):
            if target[0] == "modality" and (target[1] if len(target) > 1 else "") not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {'.'.join(target)}")
    assert not wrong, "\n".join(wrong)


def test_nobody_decides_by_the_name_of_a_modality():
    ladder = re.compile(r"""(modality|tag)\s*(==|!=|in)\s*[(\["'](TEXT|IMAGE|BOX|CATEGORY)?["']?""")
    wrong = [
        str(path)
        for path in FILES
        if room_of(path) not in ("modality", "language", "gallery") and ladder.search(path.read_text())
    ]
    assert not wrong


NAMED = {*KINDS, *CRITERIA, *GENERATORS}
RECORDS = {name.upper() for name in (*CRITERIA, *GENERATORS)}
TENSORS = {"tokens", "frames", "noise", "number", "reward"}  # names of tensors, parts and options too
ABOUT = re.compile(r"kind|criterion|criteria|generator|learned_by|made_by")
NAME = re.compile(r"\b(name|noun|what)$")


def decisions(nodes):
    """(line, text) of each place in a program that is decided by the name of a kind, a criterion or a generator."""
    for node in nodes:
        if decides(node):
            yield node.lineno, ast.unparse(node).partition("\n")[0]


def decides(node):
    match node:
        case ast.Compare():
            sides = [node.left, *node.comparators]
            told = set().union(*map(words, sides))
            names = any(NAME.search(ast.unparse(side)) for side in sides)
            records = any(ast.unparse(side).removesuffix(".name") in RECORDS for side in sides)
            return records or bool(told & NAMED and (names or ABOUT.search(ast.unparse(node))))
        case ast.Match():
            told = set().union(*(words(case.pattern) for case in node.cases))
            subject = ast.unparse(node.subject)
            return bool(told & (NAMED - TENSORS) or (told & NAMED and (NAME.search(subject) or ABOUT.search(subject))))
        case ast.Dict():
            return among([key.value for key in node.keys if isinstance(key, ast.Constant)], len(node.keys))
        case ast.Set() | ast.List():
            return among([one.value for one in node.elts if isinstance(one, ast.Constant)], len(node.elts))
        case ast.Call(func=ast.Attribute(attr="startswith" | "endswith" | "get" | "pop")):
            return bool(set().union(*map(words, node.args)) & (NAMED - TENSORS))
        case ast.Subscript():
            return bool(words(node.slice) & (NAMED - TENSORS))
    return False


def words(node):
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def among(told, count):
    """Whether these are names, and not words that tensors have too."""
    known = [one for one in told if one in NAMED]
    return bool(set(known) - TENSORS) or (count > 1 and len(known) == count)


def test_nobody_decides_by_the_name_of_a_kind_a_criterion_or_a_generator():
    """What depends on one is a field of its record: another one from outside would be decided wrongly, in silence."""
    wrong = [f"{path.relative_to(ROOT)}:{line} {text}" for path in FILES for line, text in decisions(nodes_of(path))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "slot.kind == 'tokens'",
        "'ctc' != criterion",
        "slot.learned_by.name in ('mse', 'huber')",
        "record.name == 'ctc'",
        "name == 'frames'",
        "'search' is name",
        "record is CTC",
        "asked != CONTRAST.name",
        "slot.made_by == SEARCH",
        "match record.name:\n case 'frames': pass",
        "match found:\n case 'ctc' | 'diffusion': pass",
        "match slot:\n case Slot(kind='x', criterion='huber'): pass",
        "{'ctc': 1, 'other': 2}",
        "{'frames': 1, 'noise': 2}",
        "{'mse', 'huber'}",
        "STEPS.get('denoise')",
        "CRITERIA['gaussian']",
        "key.startswith('classify')",
    ],
)
def test_a_decision_by_name_is_found(line):
    assert list(decisions(ast.walk(ast.parse(line))))


@pytest.mark.parametrize(
    "line",
    [
        "tensors['frames']",
        "tensors.get('tokens')",
        "entry.adaptor == 'tokens'",
        "{'frames': frames, 'time': share}",
        "{'tokens': tokens}",
        "options['predict'] == 'noise'",
        "slot.made_as.tokens",
        "record.view == 'all'",
        "name == 'text'",
        "slot.learned_by == record",
        "match node:\n case 'frames': pass",
        "Defaults(criterion='ctc', criteria=('mse', 'huber'))",
        "[one for one in ('a', 'b')]",
    ],
)
def test_what_is_no_decision_is_let_be(line):
    assert not list(decisions(ast.walk(ast.parse(line))))


def asking(tree):
    """Lines where a question, as `nearest` makes one, is part of what is expected or given."""
    for scope in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Module)):
        given = [n for n in ast.walk(scope) if isinstance(n, ast.Assign) and "nearest(" in ast.unparse(n.value)]
        names = {name.id for n in given for name in n.targets if isinstance(name, ast.Name)}
        for node in ast.walk(scope):
            said = []
            if isinstance(node, ast.keyword) and node.arg == "expected":
                said = [node.value]
            if isinstance(node, ast.JoinedStr):
                said = [
                    part
                    for before, part in pairwise(node.values)
                    if isinstance(before, ast.Constant) and before.value.endswith(("expected ", "give "))
                ]
            for part in said:
                found = {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}
                if found & (names | {"nearest"}) or "did you mean" in ast.unparse(part):
                    yield part.lineno


def test_what_is_expected_is_no_question():
    told = [path for path in FILES if re.search("nearest|mean", path.read_text(encoding="utf8"))]  # in no other is one
    found = {f"{p.relative_to(ROOT)}:{line}" for p in told for line in asking(tree_of(p))}
    assert not found, "`nearest` is a sentence of its own; after what is expected comes `perhaps`"


@pytest.mark.parametrize(
    "line",
    [
        "DataError('x', expected=nearest(a, b))",
        "DataError('x', expected=f'{nearest(a, b)}one of')",
        "near = nearest(a, b)\nDataError('x', expected=f'{near}one of')",
        "f'unknown; expected {nearest(a, b)}there are'",
        "DataError('x', expected='did you mean a?')",
    ],
)
def test_a_question_in_what_is_expected_is_found(line):
    assert list(asking(ast.parse(line)))
    assert not list(asking(ast.parse(line.replace("nearest", "perhaps").replace("did you mean a?", "an a"))))


def test_no_room_for_leftovers():
    bad = {"utils", "util", "base", "common", "helper", "helpers", "misc"}
    assert not [path for path in FILES if path.stem in bad or path.parent.name in bad]


def finds_what_it_names(nodes):
    """Whether all that a file takes of `pickle` is an Unpickler with a `find_class` of its own."""
    taken = [
        node
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle"
    ]
    own = [
        base
        for node in nodes
        if isinstance(node, ast.ClassDef) and any(getattr(part, "name", None) == "find_class" for part in node.body)
        for base in node.bases
        if ast.unparse(base) == "pickle.Unpickler"
    ]
    return bool(own) and {id(node) for node in taken} == {id(node) for node in own}


def test_nothing_that_loads_can_run_code():
    """Weights are safetensors, metadata is JSON: no pickle but by an unpickler that says what it may find, no eval of
    what was read, and of torch.load nothing but weights.
    """
    wrong = []
    loads = {"torch.load", "torch.save", "yaml.load", "np.load", "numpy.load"}
    for path in FILES:
        nodes = nodes_of(path)
        pickles = not finds_what_it_names(nodes)
        weights = {
            id(node.func)
            for node in nodes
            if isinstance(node, ast.Call)
            and any(keyword.arg == "weights_only" and ast.unparse(keyword.value) == "True" for keyword in node.keywords)
        }
        for node in nodes:
            if (
                id(node) not in weights
                and isinstance(node, ast.Attribute)
                and node.attr in ("load", "save")
                and ast.unparse(node) in loads
            ):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
            if isinstance(node, (ast.Import, ast.ImportFrom)) and pickles:
                names = {a.name for a in node.names} | {getattr(node, "module", None)}
                wrong += [
                    f"{path.relative_to(ROOT)}:{node.lineno} {n}"
                    for n in names & {"pickle", "dill", "cloudpickle", "joblib", "marshal"}
                ]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.func.id}")
    assert not wrong, "\n".join(wrong)
