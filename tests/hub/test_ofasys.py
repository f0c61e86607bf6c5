"""Which labels, settings and search a request gets, and what is said of rows that are none."""

import copy
import math
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch

from ofasys.errors import ConfigError, DataError, InstructionError
from ofasys.generalist import GeneralistModel
from ofasys.hub import OFASys
from ofasys.modality import Registry
from ofasys.program.decoding import Decoding
from ofasys.types import TaskCard


def card(tiny, line, **more):
    settings = tiny.SETTINGS if "IMAGE" in tiny.INSTRUCTIONS[line] else {}
    plan = tiny.plans()[line]
    return TaskCard(**{"name": line, "instructions": (str(plan.instruction),), "settings": settings} | more)


@pytest.fixture
def entail(tiny):
    """(the line, a row, a model that knows the task)."""
    known = OFASys(tiny.model(), [card(tiny, "entail", labels=tiny.LABELS)])
    return tiny.INSTRUCTIONS["entail"], tiny.ROWS["entail"][0], known


def test_tasks_that_disagree_on_a_closed_set_are_not_guessed_between(tiny, entail):
    line, row, _ = entail
    other = card(
        tiny, "entail", name="other", instructions=("[TEXT:a] -> [TEXT:label,closed_set]",), labels={"label": ["x"]}
    )
    model = OFASys(tiny.model(), [card(tiny, "entail", labels=tiny.LABELS), other])
    asked = line.replace("closed_set", "closed_set,generator=rank")
    with pytest.raises(ConfigError, match="tasks entail, other have different closed sets for 'label'"):
        model.inference(asked, data=row)
    assert model.inference(asked, data=row, closed_set=["yes", "no"]).label in ("yes", "no")
    assert model.inference(line, data=row).label in tiny.LABELS["label"]  # a task's own line is no guess


def test_tasks_that_share_a_line_agree_on_what_goes_with_it(tiny, entail):
    line, row, _ = entail
    twice = [card(tiny, "entail", labels=tiny.LABELS), card(tiny, "entail", name="b", labels={"label": ["x", "y"]})]
    with pytest.raises(ConfigError, match="tasks entail, b share this line"):
        OFASys(tiny.model(), twice).inference(line, data=row)


def test_a_ranking_holds_every_label_once_and_sums_to_one(tiny, entail):
    line, row, model = entail
    asked = line.replace("closed_set", "closed_set,generator=rank")
    every = model.inference(asked, data=row).nbest
    assert {out.label for out in every} == set(tiny.LABELS["label"])
    assert sum(math.exp(out.score) for out in every) == pytest.approx(1, abs=1e-5)
    assert [out.score for out in every] == sorted((out.score for out in every), reverse=True)
    assert len(model.inference(asked, data=row, n_best=2).nbest) == 2
    with pytest.raises(ConfigError, match="sampling goes with generator=search"):
        model.inference(asked, data=row, sampling=True)


def test_what_is_asked_of_the_search_goes_before_what_the_task_has(tiny, entail):
    line, row, _ = entail
    model = OFASys(tiny.model(), [card(tiny, "entail", labels=tiny.LABELS, generate={"beam_size": 2, "n_best": 2})])
    assert len(model.inference(line, data=row).nbest) == 2
    assert len(model.inference(line, data=row, sampling=True).nbest) == 1
    assert len(model.inference(line, data=row, n_best=3).nbest) == 3


@pytest.mark.parametrize("data", ["cat.png", 3, ["cat.png"], [["a", "b"]]])
def test_rows_that_are_none(entail, data):
    line, row, model = entail
    with pytest.raises(DataError, match="expected a dict with"):
        model.inference(line, data=data)
    assert model.inference(line, data=[row])[0].label


# --- a model as a value -----------------------------------------------------------------------------------------------


@pytest.fixture
def answered(entail):
    line, row, model = entail
    return line, row, model, model.inference(line, data=row)


def test_a_model_takes_the_cards_it_carries(tiny, entail):
    line, row, known = entail
    bare = tiny.grown(("entail",))
    bare.cards = known.cards
    assert OFASys(bare).cards == known.cards
    assert OFASys(bare).inference(line, data=row).label in tiny.LABELS["label"]
    assert OFASys(bare, ()).cards == ()


def test_a_model_is_pickled_and_copied(answered):
    line, row, model, out = answered
    model.origin = "runs/first (best, step 3)"
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.cards == model.cards
        assert repr(other) == repr(model)
        found = other.inference(line, data=row)
        assert (found, found.score) == (out, out.score)
        assert other.model is not model.model
        assert other.model.training == model.model.training
    with torch.no_grad():
        other.model.table.zero_()
    assert model.inference(line, data=row).score == out.score


def test_a_task_is_asked_by_its_name(answered):
    _, row, model, out = answered
    assert model.inference("entail", row) == out
    assert next(model.answers("entail", [row])) == out
    with pytest.raises(
        ConfigError, match=r"no task 'ential' in this run; did you mean entail\? there are entail; or give"
    ):
        model.inference("ential", row)
    with pytest.raises(InstructionError, match="there is no arrow"):
        model.inference("[TEXT:sent1] [TEXT:sent2]", row)


def test_a_copy_decodes_as_the_model_does(tiny, monkeypatch, caplog):
    monkeypatch.setattr("ofasys.generalist.LARGE_TABLE", 0)
    model = OFASys(tiny.grown(("language",)).eval())
    assert copy.deepcopy(model).decoding == Decoding()
    model.model.decode_in("bfloat16")
    other = pickle.loads(pickle.dumps(model))
    assert other.decoding == model.decoding == Decoding("bfloat16")
    assert other.model.engine.reduced
    assert not caplog.text
    model.model.decode_in("auto")
    assert copy.deepcopy(model).decoding == model.decoding, "with what was measured"
    model.model.decoding = Decoding("int8")  # on a machine that can
    sent = pickle.dumps(model)
    monkeypatch.setattr("ofasys.generator.shortlist.compiled", lambda name: None)
    assert pickle.loads(sent).decoding == Decoding()
    assert "the pickled model is decoded in float32 here" in caplog.text


def test_a_copy_keeps_modalities_of_ones_own(tiny):
    from ofasys.modality.registry import BUILT_IN

    model = GeneralistModel(config=tiny.CONFIG, modalities=Registry(BUILT_IN.modalities[:4]))
    model.tokenizer = tiny.tokenizer()
    model.grow([(tiny.plans(("head",))["head"], tiny.LABELS)], list)
    other = copy.deepcopy(OFASys(model.eval()))
    assert len(other.model.modalities.modalities) == 4


def test_a_model_that_has_learned_nothing_is_not_pickled(tiny):
    with pytest.raises(ConfigError, match="nothing to save; train it first"):
        pickle.dumps(OFASys(GeneralistModel(config=tiny.CONFIG)))


@pytest.mark.slow
def test_a_spawned_process_answers_the_same(answered):
    line, row, model, out = answered
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(ask_once, model, line, row).result()
    assert (found, found.score) == (out, pytest.approx(out.score))


def ask_once(model, line, row):
    return model.inference(line, data=row)


def test_devices(entail, tmp_path):
    _, _, model = entail
    assert model.device == torch.device("cpu")
    assert model.to("cpu") is model
    for device in ("gpu", "cpu:x", 3.5, "cuda:99", "meta", "xpu"):
        with pytest.raises(ConfigError, match=r"device=.* is (no device|not here); there (is|are) cpu"):
            model.to(device)
    folder = model.save_pretrained(tmp_path / "saved")
    assert OFASys.from_pretrained(folder, device="cpu").device.type == "cpu"
    assert OFASys.from_pretrained(folder, device=torch.device("cpu", 0)).device.type == "cpu"
    with pytest.raises(ConfigError, match="device='gpu' is no device"):
        OFASys.from_pretrained(tmp_path / "absent", device="gpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_model_that_was_moved_answers_the_same(answered):
    line, row, model, out = answered
    other = copy.deepcopy(model).to("cuda")
    assert other.device == torch.device("cuda", 0)
    assert pickle.loads(pickle.dumps(other)).device == other.device
    assert other.inference(line, data=row).score == pytest.approx(out.score, abs=1e-4)
    assert other.to("cpu").inference(line, data=row).score == pytest.approx(out.score, abs=1e-6)


def test_what_a_model_is_can_be_read(tiny, entail):
    _, _, model = entail
    shown = repr(model).splitlines()
    assert shown[0] == f"OFASys(custom, {model.model.parameters_count:,} parameters, on cpu)"
    assert shown[1] == f"  entail: {model.cards[0].instructions[0]}; label: 3 labels; group: 3 labels"
    assert model.tasks["entail"].labels == tiny.LABELS
    assert list(model.tasks) == ["entail"]


def test_a_dict_of_an_answer(answered):
    _, _, _, out = answered
    assert dict(out) == {"label": out.label}


def test_a_closed_set_that_is_no_list_is_told(tiny):
    model = OFASys(tiny.model(), [card(tiny, "entail", labels=tiny.LABELS)])
    for given in (5, True):
        with pytest.raises(ConfigError, match=f"closed_set is {given}; give a list of labels"):
            model.inference(tiny.INSTRUCTIONS["entail"], data=tiny.ROWS["entail"][0], closed_set=given)
