"""Every choice and its reason; and each PlanError beside its well-formed twin."""

from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from ofasys.errors import ConfigError, InstructionError, PlanError
from ofasys.language import option
from ofasys.modality import BUILT_IN, Part
from ofasys.planner import Choice, Fill, Prompt, Repeat, plan
from ofasys.types import Fixed, Forced, Free, Given, Loop, OneOf

CAPTION = "[IMAGE:img] what does the image describe? -> [TEXT:cap]"


def slot(text, column, **more):
    return next(s for s in plan(text, **more).slots if s.column == column)


def test_defaults_say_so():
    image, text = plan(CAPTION).slots
    assert (image.modality, image.side, image.column, image.positions, image.expected) == (
        "IMAGE",
        "source",
        "img",
        "2-D",
        64,
    )
    assert image.preprocess == Choice("pixels", "default")
    assert image.adaptor == Choice("patch", "default")
    assert image.key == "image_patch_16"
    assert image.criterion is None
    assert image.generator is None
    assert text.criterion == Choice("cross_entropy", "default")
    assert text.generator == Choice("search", "default")
    assert text.preprocess == Choice("pieces", "default")
    assert text.key == "tokens"
    assert text.ranges == (("text", None),)
    assert (text.weight, text.no_loss, text.closed_set, text.value) == (1.0, False, False, "text")
    assert {why for s in (image, text) for _, _, why in s.options} == {"default"}


def test_an_attribute_says_so():
    image = slot("[IMAGE:img,adaptor=resnet,patch=8] see -> [TEXT:cap]", "img")
    assert image.adaptor == Choice("resnet", "attribute")
    assert image.key == "image_resnet_8"
    assert ("patch", 8, "attribute") in image.options
    assert ("size", 128, "default") in image.options
    assert image.expected == 256
    assert slot("[IMAGE:img] -> [TEXT:cap,weight=0.5]", "cap").weight == 0.5
    assert slot("[IMAGE:img] -> [TEXT:cap,criterion=cross_entropy]", "cap").criterion == Choice(
        "cross_entropy", "attribute"
    )


def test_settings_reach_modality_or_column_and_the_instruction_wins():
    assert ("size", 64, "setting") in slot(CAPTION, "img", settings={"IMAGE.size": 64}).options
    assert ("size", 64, "setting") in slot(CAPTION, "img", settings={"img.size": 64}).options
    assert ("size", 32, "setting") in slot(CAPTION, "img", settings={"IMAGE.size": 64, "img.size": 32}).options
    assert slot(CAPTION, "img", settings={"IMAGE.adaptor": "resnet"}).adaptor == Choice("resnet", "setting")
    written = CAPTION.replace(":img", ":img,size=96")
    assert ("size", 96, "attribute") in slot(written, "img", settings={"IMAGE.size": 64}).options
    assert ("keep_aspect", True, "setting") in slot(CAPTION, "img", settings={"IMAGE.keep_aspect": True}).options


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"IMAGE.sise": 64}, "reaches no slot.*did you mean IMAGE.size"),
        ({"AUDIO.size": 64}, "reaches no slot"),
        ({"cap.mask_ratio": 0.3}, "reaches no slot"),  # an attribute of sources, on a target
        ({"IMAGE.size": "large"}, "whole number from 8 to 1024"),
        ({"IMAGE.size": 4}, "whole number from 8 to 1024"),
        ({"IMAGE.keep_aspect": "perhaps"}, "true or false"),
        ({"IMAGE.size": None}, "needs a value"),
    ],
)
def test_settings_that_reach_nothing_or_are_ill_typed(settings, says):
    with pytest.raises(ConfigError, match=says):
        plan(CAPTION, settings=settings)


def test_a_criterion_set_for_a_modality_reaches_only_what_is_learned():
    made = plan("[TEXT:a] -> [TEXT:b,no_loss] [TEXT:c]", settings={"TEXT.criterion": "cross_entropy"})
    assert [s.criterion for s in made.slots] == [None, None, Choice("cross_entropy", "setting")]


# --- each error, and its well-formed twin ---------------------------------------------------------------------------

ERRORS = [
    ("[IMAGE:i,adaptor=resnett] -> [TEXT:t]", "no adaptor 'resnett' for IMAGE; did you mean resnet.*patch, resnet",
     "[IMAGE:i,adaptor=resnet] -> [TEXT:t]"),
    ("[IMAGE:i,preprocess=code] -> [TEXT:t]", "no preprocess 'code' for IMAGE; .*pixels",
     "[IMAGE:i,preprocess=pixels] -> [TEXT:t]"),
    ("[IMAGE:i] -> [TEXT:t,criterion=mse]", "no criterion 'mse' for TEXT.*cross_entropy",
     "[IMAGE:i] -> [TEXT:t,criterion=cross_entropy]"),
    ("[IMAGE:i] -> [TEXT:t,generator=beam]", "no generator 'beam' for TEXT.*search",
     "[IMAGE:i] -> [TEXT:t,generator=search]"),
    ("[TEXT:a,criterion=ctc] -> [TEXT:t]", "no criterion 'ctc' for TEXT as a source; there (is|are)",
     "[TEXT:a] -> [TEXT:t]"),
    ("[TEXT:a,weight=2] -> [TEXT:t]", "weight on a source slot without a criterion has no effect; leave out weight=2",
     "[TEXT:a] -> [TEXT:t,weight=2]"),
    ("[TEXT:a,generator=search] -> [TEXT:t]", "generator on a source slot", "[TEXT:a] -> [TEXT:t,generator=search]"),
    ("[TEXT:a|TEXT:b,weight=2] ->", "a contrast has one loss, weighed at its first view; write weight=2 there",
     "[TEXT:a,weight=2|TEXT:b] ->"),
    ("-> [TEXT:a,no_loss,weight=2] [TEXT:t]", "weight on a no_loss slot has no effect",
     "-> [TEXT:a,no_loss] [TEXT:t,weight=2]"),
    ("-> [TEXT:a,no_loss,is_label] [TEXT:t]", "is_label on a no_loss slot.*leave out is_label=true",
     "-> [TEXT:a,no_loss] [TEXT:t,is_label]"),
    ("[IMAGE:i] -> [BOX:b,closed_set]", "BOX:b: BOX does not take closed_set",
     "[IMAGE:i] -> [BOX:b] [TEXT:t,closed_set]"),
    ("[IMAGE:a|TEXT:b] -> [TEXT:c]", r"\[IMAGE:a\|TEXT:b\]: a contrast stands alone in the source",
     "[IMAGE:a|TEXT:b] ->"),
    ("([IMAGE:a|TEXT:b])* -> [TEXT:c]", r"\[IMAGE:a\|TEXT:b\]: a contrast stands alone",
     "([IMAGE:a] [TEXT:b])* -> [TEXT:c]"),
    ("[TEXT:c] [IMAGE:a|TEXT:b] ->", r"\[IMAGE:a\|TEXT:b\]: a contrast stands alone", "the same: [IMAGE:a|TEXT:b] ->"),
    ("-> [IMAGE:a|TEXT:b]", "a contrast stands alone in the source", "[[IMAGE:a]|[TEXT:b]] ->"),
    ("[TEXT:a,criterion=classify] ->",
     "TEXT:a: criterion=classify needs the column it learns from; write classify_target=column",
     "[TEXT:a,criterion=classify,classify_target=b] ->"),
    ("[IMAGE:i] -> [BOX:b,max_length=3]", "BOX does not take max_length; leave it out",
     "[IMAGE:i] -> [BOX:b] [TEXT:t,max_length=3]"),
    ("([TEXT:a,criterion=classify,classify_target=b])* ->",
     "a criterion on a slot inside a repetition of the source is not there",
     "[TEXT:a,criterion=classify,classify_target=b] ->"),
    ("-> ([MOTION:m,no_loss] [TEXT:t])*", "no_loss inside a repetition of the target is not there yet",
     "-> ([MOTION:m] [TEXT:t])*"),
    ("[TEXT:a] -> ([TEXT:b,criterion=reward])*", "TEXT:b: criterion=reward learns one value that is searched for",
     "[TEXT:a] -> [TEXT:b,criterion=reward]"),
    ("[TEXT:a] -> [MOTION:m] [TEXT:b,criterion=reward]", "criterion=reward learns one value",
     "[TEXT:a] -> [MOTION:m] [TEXT:b]"),
    ("[TEXT:a] -> [TEXT:c] [TEXT:b,criterion=reward]", "no other slot with a loss",
     "[TEXT:a] -> [TEXT:c,no_loss] [TEXT:b,criterion=reward]"),
    ("[TEXT:a] -> [TEXT:b,closed_set,criterion=reward,generator=rank]", "no generator=rank",
     "[TEXT:a] -> [TEXT:b,closed_set,criterion=reward]"),
    ("[TEXT:a] -> [TEXT:b,criterion=reward,reward=bleuu]", "reward=bleuu: .*did you mean bleu",
     "[TEXT:a] -> [TEXT:b,criterion=reward,reward=bleu]"),
    ("[TEXT:a] -> [STRUCT:b,criterion=reward]", "reward=rouge_l scores text, not struct; name a metric of struct",
     "[TEXT:a] -> [STRUCT:b,criterion=reward,reward=table_exact]"),
    ("[TEXT:a] -> [TEXT:b,criterion=classify]", "no criterion 'classify' for TEXT as a target",
     "[TEXT:a] -> [TEXT:b,criterion=reward]"),
    ("find [TEXT:t] -> [BOX:b]", "BOX:b: nothing for it to lie in; the instruction needs a slot of IMAGE",
     "find [TEXT:t] in [IMAGE:i] -> [BOX:b]"),
    ("[IMAGE:i] [IMAGE:j] -> [BOX:b]", r"could lie in any of i, j; say which: \[BOX:b,of=i\]",
     "[IMAGE:i] [IMAGE:j] -> [BOX:b,of=j]"),
    ("[IMAGE:i] -> [BOX:b,of=j]", "of=j names no slot with a frame; there are i", "[IMAGE:j] -> [BOX:b,of=j]"),
    ("[IMAGE:img] -> [BOX:b,of=image]", "frame; did you mean img", "[IMAGE:img] -> [BOX:b,of=img]"),
    ("[TEXT:i] -> [BOX:b,of=i]", "of=i names no slot with a frame; there is none", "[IMAGE:i] -> [BOX:b,of=i]"),
    ("[TEXT:i] -> [CATEGORY:c,closed_set=false]", "CATEGORY is one of a known set always; leave out closed_set=false",
     "[TEXT:i] -> [CATEGORY:c,closed_set]"),
    ("([IMAGE:i])* -> [BOX:b]", "nothing for it to lie in", "([IMAGE:i] [BOX:c])* -> [TEXT:t]"),
    ("[TEXT:a] ->", "nothing to learn and nothing to generate", "-> [TEXT:a]"),
    ("[TEXT:a] -> [TEXT:b,no_loss]",
     "nothing to learn and nothing to generate; the target needs a slot without no_loss", "[TEXT:a] -> [TEXT:b]"),
    ("[IMAGE:i,size=100] -> [TEXT:t]", "size=100 is not a multiple of patch=16",
     "[IMAGE:i,size=100,patch=4] -> [TEXT:t]"),
    ("-> ([TEXT:a,no_loss] [TEXT:b])*", "no_loss inside a repetition of the target is not there yet",
     "-> ([TEXT:a] [TEXT:b])*"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "says", "good"), ERRORS, ids=[bad for bad, _, _ in ERRORS])
def test_what_cannot_be_planned_and_its_twin(bad, says, good):
    with pytest.raises(PlanError, match=says):
        plan(bad)
    assert plan(good).fingerprint


def test_a_modality_of_the_source_alone():
    read = replace(BUILT_IN.spec("VIDEO"), tag="FILM", target=None)
    known = BUILT_IN.with_(read)
    with pytest.raises(PlanError, match=r"FILM as a target is not there; target slots may be TEXT, .*BOX"):
        plan("-> ([FILM] [TEXT])*", modalities=known)
    assert plan("([FILM] [TEXT])* -> [TEXT:t]", modalities=known).fingerprint


def test_text_that_is_no_instruction_is_an_instruction_error():
    with pytest.raises(InstructionError, match="did you mean IMAGE"):
        plan("[IMGAE:img] -> [TEXT:cap]")


@dataclass(frozen=True, kw_only=True)
class Wide:
    stride: int = option(1, low=1)


def test_an_attribute_that_does_not_reach_the_slot():
    image = BUILT_IN.spec("IMAGE")
    wide = replace(
        image, tag="WIDE", adaptor=dict(image.adaptor) | {"conv": Part("nowhere:Conv", Wide, keyed=("stride",))}
    )
    registry = BUILT_IN.with_(wide)
    assert slot("[WIDE:i,adaptor=conv,stride=2] -> [TEXT:t]", "i", modalities=registry).key == "wide_conv_2"
    with pytest.raises(PlanError, match="stride does not reach this slot"):
        plan("[WIDE:i,stride=2] -> [TEXT:t]", modalities=registry)
    made = plan("[WIDE:i] -> [TEXT:t]", modalities=registry)
    assert "[WIDE:i]" in str(made)  # a plan prints where its modality is not registered
    with pytest.raises(ConfigError, match="BOX is registered already"):
        BUILT_IN.with_(BUILT_IN.spec("BOX"))
    with pytest.raises(ConfigError, match="IMAGE is registered already"):
        BUILT_IN.with_(replace(image, tag="PHOTO", aliases=("IMAGE",)))


def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch):
    (tmp_path / "my_part.py").write_text("import nowhere_at_all\nclass Mine: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigError, match="my_part:Mine needs the library 'nowhere_at_all': pip install nowhere_at_all"
    ):
        Part("my_part:Mine").resolve()
    (tmp_path / "my_other_part.py").write_text("class Mine: ...\n")
    assert Part("my_other_part:Mine").resolve().__name__ == "Mine"


# --- streams and the target sentence ----------------------------------------------------------------------------------


def test_steps_in_the_order_of_the_sentence():
    made = plan("see [TEXT:a] and ([IMAGE:i] x [BOX:b])* end -> so [TEXT:c]")
    assert made.source[0] == Prompt("see")
    assert made.source[1] == Fill(0)
    repeat = made.source[3]
    assert isinstance(repeat, Repeat)
    assert repeat.steps == (Fill(1), Prompt("x"), Fill(2))
    assert repeat.slots == (1, 2)
    assert made.source[4] == Prompt("end")
    assert made.target == (Prompt("so"), Fill(3, Free(3, "text")))
    assert made.slots[2].refers_to == 1
    assert [s.group for s in made.slots] == [None, 0, 0, None]


def test_the_target_compiles_to_items():
    text = (
        "[IMAGE:i] -> is [TEXT:q,no_loss] so? [TEXT:a,closed_set] ([BOX:b,bins=100] at [TEXT:t,max_length=7])* "
        "[CATEGORY:c] [CATEGORY:d,adaptor=head]"
    )
    assert plan(text).automaton == (
        Forced("is"),
        Given(1),
        Forced("so?"),
        OneOf(2),
        Loop((Fixed(3, "bins", 4, 100), Forced("at"), Free(4, "text", 7))),
        OneOf(5),
        Fixed(6, "labels", 1),
    )


def test_the_scored_slots():
    assert [s.column for s in plan("-> [TEXT:a,no_loss] [TEXT:b] [TEXT:c]").scored] == ["b", "c"]
    assert [s.column for s in plan("-> [TEXT:a,no_loss] [TEXT:b] [TEXT:c,is_label]").scored] == ["c"]


def test_a_plan_is_frozen():
    with pytest.raises(FrozenInstanceError):
        plan(CAPTION).source = ()
