"""What went wrong without a word in the earlier system of this kind does not go wrong here. One test per fault."""

import logging
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from ofasys import flow
from ofasys.errors import ConfigError, DataError, InstructionError, PlanError
from ofasys.generator.options import SearchOptions
from ofasys.hub import OFASys
from ofasys.language import Instruction
from ofasys.modality import Context, lexicon
from ofasys.model import UniversalModel
from ofasys.planner import plan
from ofasys.task.loader import Assembler, deliveries
from ofasys.task.task import Task
from ofasys.task.ticket import Ticket
from ofasys.train import Trainer
from ofasys.types import TaskCard

TEXT_ROWS = [{"q": f"what is {i}", "a": f"it is {i}"} for i in range(64)]


def answering(tiny, *names):
    cards = [
        TaskCard(n, (str(p.instruction),), tiny.SETTINGS if "IMAGE" in p.instruction else {}, tiny.LABELS)
        for n, p in tiny.plans(names).items()
    ]
    return OFASys(tiny.model(), cards)


# --- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_each_row_is_drawn_once_an_epoch_by_any_number_of_workers(tiny, workers):
    """There: 64 rows, 2 workers: 32 of them, each twice."""
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=TEXT_ROWS, micro_batch_size=8)
    programs = {"t": [flow.bind(tiny.model(), p) for p in task.plans]}
    assembler = Assembler([task], programs, seed=1)
    found = list(deliveries(assembler, [Ticket(k, "t", k) for k in range(8)], workers))
    rows = [row for delivery in found for _, row in delivery.rows]
    assert Counter(rows) == Counter(range(64))
    here = [Assembler([task], programs, seed=1)[Ticket(k, "t", k)] for k in range(8)]
    assert [d.rows for d in found] == [d.rows for d in here]
    for one, two in zip(found, here, strict=True):
        assert torch.equal(one.batch.target.inputs[0].tensors["tokens"], two.batch.target.inputs[0].tensors["tokens"])


@pytest.mark.slow
def test_rows_of_a_hugging_face_data_set_too(tiny):
    datasets = pytest.importorskip("datasets")
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=datasets.Dataset.from_list(TEXT_ROWS), micro_batch_size=8)
    assembler = Assembler([task], {"t": [flow.bind(tiny.model(), task.plan)]}, seed=1)
    found = deliveries(assembler, [Ticket(k, "t", k) for k in range(8)], 2)
    assert Counter(row for delivery in found for _, row in delivery.rows) == Counter(range(64))


@pytest.mark.parametrize(
    "row", [{"q": "what"}, {"q": "what", "a": None}, {"q": "what", "a": ""}, {"q": "what", "a": "  "}]
)
def test_a_missing_target_is_an_error_in_training(tiny, row):
    """There: an empty target, and training goes on, on end marks alone."""
    made = flow.bind(tiny.model(), plan("[TEXT:q] -> [TEXT:a]"))
    with pytest.raises(DataError, match="TEXT:a"):
        flow.preprocess(made, row, training=True)


def test_training_stops_or_counts_where_the_target_is_missing(tiny):
    rows = [*TEXT_ROWS[:4], {"q": "no answer"}]
    for on_bad in ("stop", "skip"):
        task = Task("t", "[TEXT:q] -> [TEXT:a]", train=rows, micro_batch_size=5, on_bad=on_bad)
        assembler = Assembler([task], {"t": [flow.bind(tiny.model(), task.plan)]}, seed=0)
        if on_bad == "stop":
            with pytest.raises(
                DataError, match=r"column is missing \(task 't', slot 'TEXT:a', column 'a', sample 'train row 4'\)"
            ):
                list(deliveries(assembler, [Ticket(0, "t", 0)], 0))
        else:
            (delivery,) = deliveries(assembler, [Ticket(0, "t", 0)], 0)
            assert delivery.batch.size == 4
            assert [bad.row for bad in delivery.bad] == [4]


def test_nothing_learns_from_end_marks_alone(tiny):
    """The answer of a text begins with a token that is no end mark."""
    for name in ("caption", "language", "two", "infill"):
        made = tiny.program(name)
        for sample in tiny.samples(name):
            assert sample.run.tokens[0] != made.symbols.end


def test_a_task_whose_rows_are_all_bad_stops(tiny, tmp_path):
    rows = [{"q": "what", "a": None}] * 8
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=rows, micro_batch_size=4, bad_limit=5)
    with pytest.raises(DataError, match=r"none of 8 training rows .* can be used.*task 't'"):
        Trainer(max_steps=4, out=tmp_path / "run", live=False).fit(model=tiny.grown(("language",)), tasks=[task])


def test_a_value_used_twice_is_one_column(tiny):
    made = flow.bind(tiny.model(), plan("[TEXT:a] or [TEXT:a]? -> [TEXT:b]"))
    tokens = [piece.tensors["tokens"].tolist() for _, piece in flow.preprocess(made, {"a": "cat", "b": "dog"}).source]
    assert tokens[0] == tokens[2]


# --- models -----------------------------------------------------------------------------------------------------------


def test_two_models_in_a_process_have_an_embedding_each(tiny):
    """There: a class attribute, one tensor for all."""
    one, two = tiny.grown(("language",)), tiny.grown(("language",))
    assert one.table.data_ptr() != two.table.data_ptr()
    before = two.table.detach().clone()
    task = Task("t", "-> [TEXT:t]", train=tiny.ROWS["language"], micro_batch_size=2)
    Trainer(max_steps=2, warmup=0, live=False).fit(model=one, tasks=[task])
    assert torch.equal(two.table, before)
    assert not torch.equal(one.table, before)


def test_a_model_that_answered_can_be_trained(tiny):
    """There: `cannot train after make_generation_fast`."""
    model = tiny.grown(("language",))
    OFASys(model).inference("-> [TEXT:t]", max_length=4)
    task = Task("t", "-> [TEXT:t]", train=tiny.ROWS["language"], micro_batch_size=2)
    trainer = Trainer(max_steps=2, warmup=0, live=False)
    trainer.fit(model=model, tasks=[task])
    assert trainer.history
    assert OFASys(model).inference("-> [TEXT:t]", max_length=4).text


def test_a_checkpoint_is_saved_from_python(tiny, tmp_path):
    task = Task("t", "-> [TEXT:t]", train=tiny.ROWS["language"], micro_batch_size=2)
    model = tiny.grown(("language",))
    Trainer(max_steps=1, out=tmp_path / "run", live=False).fit(model=model, tasks=[task])
    one, two = (
        o.inference("-> [TEXT:t]", max_length=6) for o in (OFASys(model), OFASys.from_pretrained(tmp_path / "run"))
    )
    assert one.text == two.text


# --- inference --------------------------------------------------------------------------------------------------------


def test_falsy_options_are_honoured(tiny):
    """There: `filter(lambda x: x[1])` dropped 0 and False."""
    asked = {
        "no_repeat_ngram_size": 0,
        "length_penalty": 0,
        "sampling": False,
        "min_length": 0,
        "early_stopping": False,
    }
    options = SearchOptions.from_dict(asked)
    assert {name: getattr(options, name) for name in asked} == asked
    card = TaskCard("t", ("-> [TEXT:t]",), generate={"no_repeat_ngram_size": 1, "max_length": 90})
    model = OFASys(tiny.model(), [card])
    trained, plain = model.inference("-> [TEXT:t]"), model.inference("-> [TEXT:t]", no_repeat_ngram_size=0)
    assert plain.text == OFASys(tiny.model()).inference("-> [TEXT:t]", max_length=90).text
    assert trained.text != plain.text
    hypotheses = OFASys(tiny.model()).inference("-> [TEXT:t]", beam_size=2, length_penalty=0, max_length=8)
    assert hypotheses.score != OFASys(tiny.model()).inference("-> [TEXT:t]", beam_size=2, max_length=8).score


def test_no_ngram_is_barred_unasked(tiny):
    made = tiny.program("language")
    sample = flow.preprocess(made, {}, target=False)

    def tokens(**options):
        found = flow.generate(tiny.model(), made, [sample], SearchOptions(beam_size=4, max_length=40, **options))
        return found[0][0].tokens.tolist()

    free, barred = tokens(), tokens(no_repeat_ngram_size=1)
    assert free == tokens(no_repeat_ngram_size=0)
    assert len(set(free)) < len(free)  # this model repeats itself, and beams let it
    assert len(set(barred)) == len(barred)


def test_an_unknown_option_is_an_error(tiny):
    with pytest.raises(ConfigError, match="no option 'beam_sise'; did you mean beam_size"):
        OFASys(tiny.model()).inference("-> [TEXT:t]", beam_sise=3)


def test_the_trie_is_built_once(tiny):
    model = answering(tiny, "entail")
    asked = Instruction(tiny.INSTRUCTIONS["entail"])
    first, _ = model.programs.of(asked)
    model.inference(tiny.INSTRUCTIONS["entail"], data=tiny.ROWS["entail"][0])
    model.inference(asked, data=tiny.ROWS["entail"])
    again, _ = model.programs.of(Instruction(tiny.INSTRUCTIONS["entail"]))
    assert again is first
    assert len(model.programs) == 1
    other, _ = model.programs.of(asked, closed_set=["a", "b"])
    assert other is not first
    for i in range(100):
        model.programs.of(asked, closed_set=[f"label {i}"])
    assert len(model.programs) <= 64


def test_max_length_does_not_count_the_prompt(tiny):
    """There: `max_len=5` and a prefix of 13 tokens gave an empty text."""
    made = tiny.program("prompted")
    row = {"sent1": "a big dog on the green hill", "sent2": "a small cat"}
    sample = flow.preprocess(made, row, target=False)
    assert len(sample.run.prefix) > 13
    out = answering(tiny, "prompted").inference(tiny.INSTRUCTIONS["prompted"], data=row, max_length=5)
    assert out.label in tiny.LABELS["label"]
    free = flow.bind(tiny.model(), plan("-> can text1 [TEXT:sent1,no_loss] imply text2 [TEXT:sent2,no_loss]? [TEXT:t]"))
    tokens = flow.generate(tiny.model(), free, [flow.preprocess(free, row, target=False)], SearchOptions(max_length=5))[
        0
    ][0].tokens
    assert 5 <= len(tokens) <= 6  # five and the end mark


@pytest.mark.parametrize("options", [{}, {"beam_size": 3}, {"sampling": True, "temperature": 5.0, "seed": 3}])
def test_a_box_of_an_untrained_model_lies_in_its_image(tiny, options):
    """There: box=[-1180.8, ...]."""
    model = answering(tiny, "ground", "detect")
    rows = [{"img": tiny.picture(w, h, w), "phrase": "cat"} for w, h in ((5, 90), (64, 64), (200, 3))]
    for name in ("ground", "detect"):
        for out, row in zip(
            model.inference(tiny.INSTRUCTIONS[name], data=rows, max_length=20, **options), rows, strict=True
        ):
            height, width, _ = row["img"].shape
            for x1, y1, x2, y2 in out.box if name == "detect" else [out.box]:
                assert 0 <= x1 <= x2 <= width
                assert 0 <= y1 <= y2 <= height


def test_a_box_token_comes_where_a_box_is_and_nowhere_else(tiny):
    made = tiny.program("name_first")
    low, high = made.symbols.vocabulary.span("bins")
    samples = [flow.preprocess(made, row, target=False) for row in tiny.ROWS["name_first"]]
    for found in flow.generate(tiny.model(), made, samples, SearchOptions(max_length=30)):
        slots = made.constraint.slot_of[found[0].states]
        is_box = slots == 2
        inside = (found[0].tokens >= low) & (found[0].tokens < high)
        np.testing.assert_array_equal(inside, is_box)


def test_inputs_are_decoded_in_batches(tiny, monkeypatch):
    """There: a list of inputs was decoded one at a time."""
    sizes = []
    real = UniversalModel.encode
    monkeypatch.setattr(
        UniversalModel, "encode", lambda self, source: sizes.append(source.layout.batch) or real(self, source)
    )
    model = answering(tiny, "entail")
    rows = [{"sent1": word, "sent2": "cat"} for word in tiny.WORDS[:10]]
    out = model.inference(tiny.INSTRUCTIONS["entail"], data=rows, batch_size=4)
    assert sizes == [4, 4, 2]
    sizes.clear()
    asked = Instruction(tiny.INSTRUCTIONS["entail"])
    again = model.inference([asked.format(row["sent1"], row["sent2"]) for row in rows], batch_size=10)
    assert sizes == [10]
    assert [o.label for o in out] == [o.label for o in again]


def test_a_list_of_different_instructions_keeps_its_order(tiny):
    model = answering(tiny, "entail", "head")
    entail, head = Instruction(tiny.INSTRUCTIONS["entail"]), Instruction(tiny.INSTRUCTIONS["head"])
    out = model.inference([entail.format("a", "b"), head.format("a"), entail.format("c", "d")])
    assert [list(o.values) for o in out] == [["label"], ["group"], ["label"]]


def test_the_closed_set_counts_in_loss_and_inference(tiny):
    """There: the default criterion ignored it, and inference had to be told again."""
    made = tiny.program("entail")
    batch = flow.collate(made, tiny.samples("entail"))
    (targets,) = batch.targets
    pieces = {t for label in tiny.LABELS["label"] for t in made.symbols.encode(label)}
    candidates = made.constraint.classes[targets.group].candidates
    assert set(candidates.tolist()) <= pieces | {made.symbols.end}
    assert targets.allowed is not None
    assert targets.allowed.sum(1).min() >= 2
    for out in answering(tiny, "entail").inference(tiny.INSTRUCTIONS["entail"], data=tiny.ROWS["entail"]):
        assert out.label in tiny.LABELS["label"]


# --- the language -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[FOO:x] -> [TEXT:t]", "[text:x] -> [TEXT:t]", "[TEXT:] -> [TEXT:t]", "[TEXT:x is what? -> [TEXT:t]",
        "[IMGAE:i] -> [TEXT:t]",
        "[TEXT:x,max_lenght=2] -> [TEXT:t]", "[IMAGE,preprocessor=image_vqgan] -> [TEXT:t]",
        "[TEXT:x,offset=-1] -> [TEXT:t]",
        "[IMAGE|TEXT]", "->", "hello -> world", "[TEXT:a] → [TEXT:b]", "[TEXT:a] -> [TEXT:b] -> [TEXT:c]", "[TEXT:a]",
        "[TEXT:a]] -> [TEXT:b]",
    ],
)  # fmt: skip
def test_a_bracket_is_never_prose(text):
    """There: the whole bracket became plain text, the column was never read, training went on."""
    with pytest.raises(InstructionError) as error:
        Instruction(text, lexicon())
    assert len(str(error.value).splitlines()) >= 2


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("[TEXT: x] -> [TEXT:t]", ["x", "t"]),
        ("[TEXT:x, max_length=3] -> [TEXT:t]", ["x", "t"]),
        ("[TEXT:標題] -> [TEXT:légende]", ["標題", "légende"]),
        ("[IMAGE:i] -> [[BOUNDING_BOX] [TEXT]]*", ["i", "box", "text"]),
        ("[IMAGE:i] -> ( [BOX] [TEXT])*", ["i", "box", "text"]),
        (r"say \[TEXT:x\] \-> [TEXT:y] -> [TEXT:t]", ["y", "t"]),
        ("[IMAGE] region: [BOUNDING_BOX] -> [TEXT]", ["image", "box", "text"]),
        ("-> [TEXT:a]", ["a"]),
    ],
)
def test_forms_that_were_silently_prose_are_read(text, columns):
    assert [slot.column for slot in plan(text).slots] == columns


@pytest.mark.parametrize("column", ["標題", "légende", "имя", "عنوان", "a b", "ключ-1"])
def test_names_of_any_script(tiny, column):
    made = flow.bind(tiny.model(), plan(f'[TEXT:q] -> [TEXT:"{column}"]'))
    sample = flow.preprocess(made, {"q": "what", column: "cat"})
    assert made.symbols.decode(sample.run.tokens) == "cat"
    with pytest.raises(DataError, match=column):
        flow.preprocess(made, {"q": "what"})


def test_positional_values_land_where_they_belong(tiny):
    asked = Instruction("[IMAGE] what does the region describe? region: [BOUNDING_BOX] -> [TEXT]")
    filled = asked.format("cat.png", [1, 2, 3, 4])
    assert dict(filled.data) == {"image": "cat.png", "box": [1, 2, 3, 4]}


def test_two_targets_are_two_values(tiny):
    """There: joined to one target, one undivided text; or decoded wholly as the modality of the first."""
    made = tiny.program("two")
    sample = tiny.samples("two")[0]
    value = flow.postprocess(made, sample, tiny.answer(sample.run))
    assert value == {name: tiny.ROWS["two"][0][name] for name in ("first", "second", "group")}
    mixed = flow.bind(tiny.model(), plan("[IMAGE:i] -> [BOX:b] [TEXT:a]", settings=tiny.SETTINGS))
    sample = flow.preprocess(mixed, {"i": tiny.picture(), "b": [1, 2, 3, 4], "a": "a red cat"})
    value = flow.postprocess(mixed, sample, tiny.answer(sample.run))
    assert value["a"] == "a red cat"
    assert value["b"] == pytest.approx([1, 2, 3, 4], abs=0.05)
    assert set(torch.cat([g.slots for g in flow.collate(mixed, [sample]).targets]).tolist()) == {1, 2}


def test_one_sided_instructions_train_and_answer(tiny):
    task = Task("t", "-> [TEXT:t]", train=tiny.ROWS["language"], micro_batch_size=2)
    trainer = Trainer(max_steps=30, warmup=0, lr=3e-3, log_every=5, live=False)
    trainer.fit(model=tiny.grown(("language",)), tasks=[task])
    losses = [line["loss"] for line in trainer.history if line["kind"] == "train"]
    assert losses[-1] < losses[0]


def test_what_cannot_be_done_is_said_before_data_is_read():
    for text in ("[TEXT:a] ->", "[TEXT:a] -> [TEXT:t,no_loss]", "[IMAGE:a|TEXT:b] -> [TEXT:c]"):
        with pytest.raises(PlanError):
            Task("t", text)


def test_an_attribute_reaches_its_slot(tiny):
    made = flow.bind(tiny.model(), plan("[TEXT:x,max_length=2] -> [TEXT:t,uncased]"))
    sample = flow.preprocess(made, {"x": "a red cat and a blue dog", "t": "CAT"})
    assert sample.source[0][1].length == 2
    assert made.preprocessors[1].postprocess(sample.run.tokens, Context()) == "cat"


# --- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_importing_touches_neither_logging_nor_the_streams():
    script = """
import logging, sys, warnings
before = (list(logging.root.handlers), logging.root.level, sys.stdout, sys.stderr, list(warnings.filters))
import ofasys, ofasys.flow, ofasys.hub, ofasys.train, ofasys.task.loader
[getattr(ofasys, name) for name in ofasys.__all__]
after = (list(logging.root.handlers), logging.root.level, sys.stdout, sys.stderr)
assert after == before[:4], (before, after)
import torch
assert torch.initial_seed() or True
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:ofasys", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == ""


def test_import_is_quick_and_without_torch():
    heavy = ("torch", "numpy", "PIL", "transformers")
    script = f"import sys, ofasys; print(sorted(m for m in sys.modules if m.split('.')[0] in {heavy}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_is_quiet_where_there_is_no_terminal(tiny, capfd):
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=TEXT_ROWS, micro_batch_size=8)
    root = list(logging.root.handlers), logging.root.level
    Trainer(max_steps=4, workers=2, live=False).fit(model=tiny.grown(("language",)), tasks=[task])
    out, err = capfd.readouterr()
    assert "fork" not in out + err
    assert (list(logging.root.handlers), logging.root.level) == root
