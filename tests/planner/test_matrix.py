"""The page of what works is what the registry says."""

import re
from pathlib import Path

import pytest

from ofasys.criterion import CRITERIA
from ofasys.errors import PlanError
from ofasys.generator import GENERATORS
from ofasys.modality.registry import BUILT_IN
from ofasys.planner import plan
from ofasys.planner.matrix import matrix
from ofasys.program.program import staged

PAGE = Path(__file__).parents[2] / "docs" / "what-works.md"


def test_the_page_has_the_table(update_golden):
    text = PAGE.read_text(encoding="utf8")
    if update_golden:
        text = re.sub(r"<!-- table -->\n(\|.*\n)*", lambda _: f"<!-- table -->\n{matrix(BUILT_IN)}", text)
        PAGE.write_text(text, encoding="utf8")
    assert f"<!-- table -->\n{matrix(BUILT_IN)}" in text, (
        "what-works.md differs; if that is meant: pytest --update-golden"
    )


def test_every_modality_criterion_and_generator_has_its_page():
    pages = PAGE.parent
    tags = {spec.tag.lower() for spec in BUILT_IN.modalities}
    assert tags <= {page.stem for page in (pages / "modalities").glob("*.md")}
    assert set(CRITERIA) == {page.stem for page in (pages / "criteria").glob("*.md")}
    assert set(GENERATORS) == {page.stem for page in (pages / "generators").glob("*.md")}


def test_rank_is_named_where_it_can_be_planned():
    for row in matrix(BUILT_IN).splitlines()[2:]:
        tag, *_, generators = (cell.strip() for cell in row.strip("| ").split("|"))
        if "search" not in generators:
            continue
        line = f"[IMAGE:i] -> [{tag}:x,generator=rank{'' if tag == 'CATEGORY' else ',closed_set'}]"
        if "rank" in generators:
            assert plan(line, modalities=BUILT_IN).slots[1].generator.name == "rank"
        else:
            with pytest.raises(PlanError):
                plan(line, modalities=BUILT_IN)


@pytest.mark.parametrize("spec", [spec for spec in BUILT_IN.modalities if spec.target], ids=lambda spec: spec.tag)
def test_every_target_may_stand_in_a_repetition_however_it_is_learned(spec):
    for criterion in BUILT_IN.learned(spec, spec.target):
        if BUILT_IN.criterion(criterion).rewarded:
            continue
        slot = f"[{spec.tag}:x,criterion={criterion}]"
        for line in (f"[IMAGE:i] -> ({slot})*", f"[IMAGE:i] -> (a {slot} [TEXT:t])* [TEXT:end]"):
            made = plan(line, modalities=BUILT_IN)
            assert made.loops
            stages = staged(made)
            assert (len(stages) > 1) == (not made.slots[1].made_as.tokens)
            assert all(0 < following <= len(stages) for stage in stages for following in stage.exits)


def test_a_registry_of_ones_own():
    only = matrix(type(BUILT_IN)(BUILT_IN.modalities[:1])).splitlines()
    assert len(only) == 3
    assert only[2].startswith("| TEXT | pieces, tokens | classify (category), contrast |")
