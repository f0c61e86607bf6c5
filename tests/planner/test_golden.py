"""Printed plans of all documented instructions. `pytest tests/planner --update-golden` writes them anew."""

import re
import sys
from pathlib import Path

import pytest

from ofasys.errors import ConfigError
from ofasys.modality import BUILT_IN
from ofasys.planner import explain, plan, to_json

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
from patterns import CHOICE, MAYBE

GOLDEN = Path(__file__).parents[1] / "golden"

DOCUMENTED = {
    "caption": "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
    "entailment": "can text1 [TEXT:sent1] imply text2 [TEXT:sent2]? -> [TEXT:label,closed_set]",
    "entailment_prompted": "-> can text1 [TEXT:sent1,no_loss] imply text2 [TEXT:sent2,no_loss]? "
    "[TEXT:label,closed_set]",
    "detection_unnamed": "[IMAGE:img] detect the objects in the image. -> [[BOUNDING_BOX] [TEXT]]*",
    "region_unnamed": "[IMAGE] what does the region describe in the image? region: [BOUNDING_BOX] -> [TEXT]",
    "infilling": 'what is the complete text of " [TEXT:sentence,mask_ratio=0.3] "? -> [TEXT:sentence]',
    "language_model": "-> [TEXT:t]",
    "demo_group": "[IMAGE:img] which group does it belong to? -> [TEXT:group,closed_set]",
    "demo_grounding": '[IMAGE:img] which region does the text " [TEXT:phrase] " describe? -> [BOX:box]',
    "demo_grounded_caption": "[IMAGE:img] what does the region describe? region: [BOX:box] -> [TEXT:cap]",
    "demo_detection": "[IMAGE:img] detect the objects in the image. -> ([BOX:box] [TEXT:label])*",
    "demo_vqa": "[IMAGE:img] [TEXT:question] -> [TEXT:answer]",
    "category_head": "[IMAGE:img,adaptor=resnet,patch=8,size=64] which? -> [CATEGORY:group,adaptor=head,weight=0.5]",
    "image_target": "-> ([IMAGE] [TEXT])*",
    "contrast": "[IMAGE:img|TEXT:cap] ->",
    "classify": "[TEXT:text,criterion=classify,classify_target=topic] ->",
    "reward": "[IMAGE:img] what does the image describe? -> [TEXT:cap,criterion=reward,reward=cider]",
    "image_from_nothing": "-> [IMAGE:img]",
    "image_infilling": "[IMAGE:img,preprocess=codes,mask_ratio=0.5] what is the complete image? -> [IMAGE:img]",
    "speech_recognition": "[AUDIO:wav] what is said? -> [TEXT:text]",
    "speech_and_alignment": "[AUDIO:wav,criterion=ctc,ctc_target=text,weight=0.3] what is said? -> [TEXT:text]",
    "alignment_alone": "[AUDIO:wav,criterion=ctc,ctc_target=phones,ctc_as=PHONE] ->",
    "speech_synthesis": "[TEXT:t] -> [PHONE:p] [AUDIO:wav]",
    "grapheme_to_phoneme": "[TEXT:word] how is it pronounced? -> [PHONE:phones]",
    "video_caption": "[VIDEO:clip] what happens? -> [TEXT:cap]",
    "video_from_text": "[TEXT:t] what does it look like? -> [VIDEO:v,frames=4,size=32]",
    "video_next": "[VIDEO:past,preprocess=codes,frames=2] and then? -> [VIDEO:next,frames=2]",
    "motion_from_text": "[TEXT:t] -> [TEXT:plan] [MOTION:m]",
    "motion_caption": "[MOTION:m] what does the person do? -> [TEXT:cap]",
    "table_question": "[STRUCT:table] [TEXT:question] -> [TEXT:answer]",
    "text_to_sql": "[STRUCT:db,preprocess=database] [TEXT:question] -> [TEXT:sql]",
    "sudoku": "[STRUCT:puzzle,preprocess=grid,rows=9,columns=9] solve it -> "
    "[STRUCT:solution,preprocess=grid,rows=9,columns=9]",
    "alignment_with_phones": "[AUDIO:wav,criterion=ctc,ctc_target=p] -> [PHONE:p,inventory=ipa]",
    "contrast_nested": "[[AUDIO:wav]|[TEXT:text]] ->",
    "number": "[CATEGORY:kind] of [NUMBER:size,lo=0] -> [TEXT:verdict] for [NUMBER:price,scale=log]",
    "series": "[TEXT:series] goes on -> ([NUMBER:next])*",
    "story_in_motion": "[TEXT:story] who moves? -> ([TEXT:who] [MOTION:m])* and then [TEXT:end]",
    "given_between": "[TEXT:a] -> [TEXT:b] [TEXT:c,no_loss] [TEXT:d]",
}


def compare(name, text, update):
    path = GOLDEN / f"{name}.txt"
    if update:
        path.write_text(text + "\n", encoding="utf8")
    assert path.read_text(encoding="utf8") == text + "\n", (
        f"{path.name} differs; if that is meant: pytest --update-golden"
    )


PATTERNS = {
    "pattern_choice": "[TEXT:q] {said [AUDIO:wav]|written [TEXT:t]} -> {in words [TEXT:a]|[PHONE:p] aloud}",
    "pattern_maybe": "[IMAGE:img]? [TEXT:question] -> [TEXT:answer] [CATEGORY:sure]?",
}


@pytest.mark.parametrize("name", PATTERNS)
def test_printed_plan_of_patterns(name, update_golden):
    registry = BUILT_IN.with_(CHOICE, MAYBE)
    compare(name, str(plan(PATTERNS[name], modalities=registry)), update_golden)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_printed_plan(name, update_golden):
    compare(name, str(plan(DOCUMENTED[name])), update_golden)


def test_printed_plan_with_costs_and_settings(update_golden):
    made = plan(DOCUMENTED["caption"], settings={"IMAGE.size": 64, "cap.max_length": 20})
    compare("caption_tiny", explain(made, "tiny"), update_golden)


BACKBONES = ("backbone_bart", "backbone_qwen", "backbone_grown", "backbone_low_rank")
LOOK = "[IMAGE:img,size=32] which region? -> [BOX:box] [TEXT:what]"


@pytest.fixture
def backbones(tmp_path, monkeypatch):
    """Tiny ones, in folders from where the process runs."""
    pytest.importorskip("transformers")
    from tests.engine.huggingface.backbones import write

    for family in ("bart", "qwen3"):
        write(family, tmp_path / family)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_printed_plan_says_what_a_backbone_brings(backbones, update_golden):
    compare("backbone_bart", str(plan(LOOK, engine="hf:bart")), update_golden)
    made = plan(LOOK, engine="hf:qwen3", config={"prefix": True, "quantize": "int8"})
    compare("backbone_qwen", str(made), update_golden)
    assert made == plan(LOOK)
    assert made.fingerprint == plan(LOOK).fingerprint


@pytest.mark.filterwarnings("ignore:.*does not give every text back")
def test_printed_plan_says_what_a_model_has(backbones, update_golden):
    from ofasys import GeneralistModel
    from ofasys.model.low_rank import Rank, add_change

    model = GeneralistModel(engine="hf:bart")
    model.grow([(plan(LOOK), {})], lambda: [])
    for name, weight in model.engine.named_parameters():
        weight.requires_grad_("encoder" not in name)
    other = "[IMAGE:img,size=32] -> [CATEGORY:kind,adaptor=head]"
    text = str(plan(other, engine=model)).replace(str(backbones), "...")
    compare("backbone_grown", text, update_golden)
    for name in [name for name, _ in model.engine.named_parameters() if name.endswith("q_proj.weight")]:
        add_change(model.engine, name, Rank(2, 4.0))
    compare("backbone_low_rank", str(plan(LOOK, engine=model)).replace(str(backbones), "..."), update_golden)


def test_printed_plan_says_what_is_new_to_an_engine_of_ours(tiny):
    new = str(plan(LOOK, engine="transformer"))
    assert "engine transformer\n  is          an encoder and a decoder, or either alone\n" in new
    assert "new         rows of tokens in a table of their own: bins (1000), text (data decides); adaptors:" in new
    held = str(plan(tiny.INSTRUCTIONS["ground"], settings=tiny.SETTINGS, engine=tiny.model()))
    assert "  new         nothing\n" in held


def test_an_engine_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown engine 'hff'; did you mean hf"):
        plan(LOOK, engine="hff:bart")
    with pytest.raises(ConfigError, match="nowhere"):
        plan(LOOK, engine=f"hf:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize("name", ["hf", "hf:"])
def test_an_engine_that_has_no_shape_without_a_place_asks_for_one(name):
    with pytest.raises(ConfigError, match="name a backbone as hf:FOLDER or hf:OWNER/NAME"):
        plan(LOOK, engine=name)


def test_json_says_of_an_engine_what_the_text_says():
    made = plan(LOOK, engine="transformer")
    found = to_json(made)["engine"]
    assert found["place"] == "transformer"
    assert list(found) == ["place", "is", "new", "learned"]
    for what in ("is", "new", "learned"):
        assert f"  {what:<12}{found[what]}\n" in str(made)
    assert "engine" not in to_json(plan(LOOK))


@pytest.mark.parametrize("said", [explain, to_json])
def test_a_size_is_of_the_engine_that_has_sizes(said):
    assert said(plan(LOOK, engine="transformer"), "tiny")
    with pytest.raises(ConfigError, match="size 'tiny' is one of engine 'transformer', and engine 'ofa' has none"):
        said(plan(LOOK, engine="ofa"), "tiny")


def test_json_and_text_give_the_same_cost():
    made = plan(DOCUMENTED["demo_detection"])
    found = to_json(made, "small")
    assert found["fingerprint"] == made.fingerprint
    assert found["estimate"] == {"source": 72, "target": 60}
    text = explain(made, "small")
    assert f"{found['cost']['parameters'] / 1e6:.2f} M parameters" in text
    assert f"{found['cost']['flops'] / 1e9:.3f} GFLOP" in text
    assert "estimate" in to_json(made)


def test_an_unknown_size_names_those_there_are():
    with pytest.raises(ConfigError, match=r"unknown size 'smal'; did you mean small"):
        explain(plan("-> [TEXT:t]"), "smal")


def test_golden_files_are_all_used():
    known = {*DOCUMENTED, *PATTERNS, "caption_tiny", *BACKBONES}
    assert {path.stem for path in GOLDEN.glob("*.txt")} == known
    assert all(re.fullmatch("[a-z_]+", name) for name in known)
