"""In what tokens are decoded: asked by name, or measured."""

import pytest

from ofasys import flow
from ofasys.errors import ConfigError
from ofasys.generator.options import SearchOptions
from ofasys.model import native
from ofasys.program import decoding


@pytest.fixture
def model(tiny, monkeypatch):
    """A tiny model whose vocabulary counts as large."""
    monkeypatch.setattr("ofasys.generalist.LARGE_TABLE", 1)
    return tiny.grown(("language",))


def answer(model, tiny, **options):
    made = flow.bind(model, tiny.plans(("language",))["language"])
    sample = flow.preprocess(made, {}, target=False)
    (best, *_), *_ = flow.generate(model, made, [sample], SearchOptions(max_length=8, **options))
    return best


@pytest.mark.parametrize("precision", decoding.DECODINGS)
@pytest.mark.parametrize("beams", [1, 3])
def test_answers_are_nearly_those_of_float32(precision, beams, model, tiny):
    if precision == "int8" and native.compiled("shortlist") is None:
        pytest.skip("no products in 8 bits here")
    exact = answer(model, tiny, beam_size=beams)
    assert str(model.decode_in(precision)) == precision
    found = answer(model, tiny, beam_size=beams)
    assert found.score == pytest.approx(exact.score, abs=0.02)
    model.decode_in("float32")
    assert answer(model, tiny, beam_size=beams).tokens.tolist() == exact.tokens.tolist()


def test_auto_takes_the_fastest_of_what_it_measured(model, monkeypatch):
    cost = iter([3.0, 1.0, 1.0, 1.0, 1.0, 1.0])  # scores and a step, of one after the other
    monkeypatch.setattr(decoding, "_least", lambda work: next(cost) / 1000)
    made = model.decode_in("auto")
    assert made.precision == "bfloat16"
    assert made.measured["float32"] == 4.0
    assert made.measured["bfloat16"] == 2.0
    assert str(made).startswith("bfloat16, the fastest of float32 4.00 ms, bfloat16 2.00 ms")
    assert model.decoding is made
    assert model.engine.reduced


def test_auto_measures_what_this_machine_can(model):
    made = model.decode_in("auto")
    assert {"float32", "bfloat16"} <= set(made.measured) <= set(decoding.DECODINGS)
    assert made.measured[made.precision] <= 1.05 * min(made.measured.values())
    assert model.engine.reduced == (made.precision != "float32")


def test_a_small_vocabulary_is_decoded_as_the_model_computes(tiny):
    model = tiny.grown(("language",))
    assert model.decode_in("int8").precision == "float32"
    assert model.output() is None


def test_what_there_is_not_is_refused(model, monkeypatch):
    with pytest.raises(ConfigError, match="decoding is 'int4'; did you mean int8"):
        model.decode_in("int4")
    monkeypatch.setattr("ofasys.generator.shortlist.compiled", lambda name: None)
    with pytest.raises(ConfigError, match="AVX-512 VNNI and a C compiler; decode in 'bfloat16' or 'auto'"):
        model.decode_in("int8")
    assert "int8" not in model.decode_in("auto").measured


def test_training_is_not_touched(model, tiny):
    made = flow.bind(model, tiny.plans(("language",))["language"])
    batch = flow.collate(made, [flow.preprocess(made, {"t": "cat"})])
    before = model(made, batch).total.item()
    model.decode_in("bfloat16")
    assert model(made, batch).total.item() == before


def test_a_loaded_model_says_how_it_decodes(tmp_path, model):
    from ofasys import OFASys

    folder = OFASys(model).save_pretrained(tmp_path / "saved")
    found = OFASys.from_pretrained(folder, precision="auto")
    assert found.decoding.measured
    assert found.model.precision == model.precision
    assert OFASys.from_pretrained(folder).decoding == decoding.Decoding()
    with pytest.raises(ConfigError, match="'int8' or 'auto' for tokens alone"):
        OFASys.from_pretrained(folder, precision="int2")
