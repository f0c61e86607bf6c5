"""The page of what works is what the registry says."""

import re
from pathlib import Path

from ofasys.criterion import CRITERIA
from ofasys.generator import GENERATORS
from ofasys.modality.registry import BUILT_IN
from ofasys.planner.matrix import matrix

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
    tags = {face.tag.lower() for face in BUILT_IN.modalities} - {"text", "box", "category"}
    assert tags <= {page.stem for page in (pages / "modalities").glob("*.md")}
    assert set(CRITERIA) == {page.stem for page in (pages / "criteria").glob("*.md")}
    assert set(GENERATORS) == {page.stem for page in (pages / "generators").glob("*.md")}


def test_a_registry_of_ones_own():
    only = matrix(type(BUILT_IN)(BUILT_IN.modalities[:1])).splitlines()
    assert len(only) == 3
    assert only[2].startswith("| TEXT | pieces, tokens | classify (category), contrast |")
