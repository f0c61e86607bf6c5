"""Parts of a modality that break their promises: the kit and an ordinary run say which method of which class gave
what, and what was expected; never a traceback of torch or numpy alone.
"""

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from tensor_shapes import unwatched

from ofasys import ConfigError, DataError, GeneralistModel, OFASys, Task, Trainer
from ofasys.errors import PluginError
from ofasys.modality import Part, default_registry, plugin
from ofasys.modality.number import NUMBER
from ofasys.modality.number.adaptor import WaveAdaptor
from ofasys.modality.number.preprocess import Scaled
from ofasys.model.sizes import ModelConfig
from ofasys.testing import check_modality
from ofasys.types import SlotFeatures

CONFIG = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, dropout=0.0, max_positions=64)
GOOD = {"values": [1.5, -2.0, 3.0], "bad": ["x"]}
ROWS = [{"q": f"row {i}", "x": float(i), "a": "yes"} for i in range(4)]
SOURCE, TARGET = "[LEVEL:x] -> [TEXT:a]", "[TEXT:q] -> [LEVEL:x]"


@pytest.fixture
def broken(monkeypatch):
    """broken(base, **methods) -> LEVEL, a NUMBER with such a preprocessor or adaptor, of module `broken_parts`."""
    module = ModuleType("broken_parts")
    monkeypatch.setitem(sys.modules, "broken_parts", module)

    def broken(base, **methods):
        for name, method in methods.items():
            function = getattr(method, "__func__", method)
            function.__name__, function.__qualname__, function.__module__ = name, f"Broken.{name}", "broken_parts"
        module.Broken = type("Broken", (base,), {"__module__": "broken_parts", "__qualname__": "Broken", **methods})
        spec, load = replace(NUMBER, tag="LEVEL"), "broken_parts:Broken"
        if base is Scaled:
            return replace(spec, preprocess={"scaled": replace(NUMBER.preprocess["scaled"], load=load)})
        return replace(spec, adaptor={"waves": replace(NUMBER.adaptor["waves"], load=load)})

    return broken


def run(spec, line, **options):
    """Train a step, and ask."""
    registry = default_registry().with_(spec)
    task = Task("t", line, train=ROWS, micro_batch_size=2, modalities=registry, on_bad="stop")
    model = GeneralistModel(config=CONFIG, text_pieces=280, modalities=registry)
    Trainer(max_steps=1, warmup=1, live=False, **options).fit(model=model, tasks=task)
    OFASys(model.eval()).inference(line, data=ROWS[0])


def piece(frames, length=1, **more):
    return lambda self, value, context: SlotFeatures({"frames": frames}, length, **more)


def told(method, *gave):
    return rf"Broken\.{method} \(broken_parts\) " + ".*".join(gave)


ONE = np.zeros((1, 1), np.float32)
PIECES = [
    ("a number", lambda self, value, context: 3.0, "gave a float for 1.5; give a SlotFeatures"),
    ("nothing", lambda self, value, context: None, "gave a NoneType, nothing"),
    ("float64", piece(ONE.astype(float)), r"gave tensor 'frames' as float64 \(1, 1\) for .*; give float32.*astype"),
    ("objects", piece(np.array([[None]])), r"gave tensor 'frames' as object \(1, 1\)"),
    ("complex", piece(ONE.astype(complex)), r"gave tensor 'frames' as complex128"),
    ("a tensor", piece(torch.zeros(1, 1)), r"gave tensor 'frames' as float32 \(1, 1\) for .*; give a numpy array"),
    ("a list", piece([[0.0]]), "gave tensor 'frames' as a list"),
    ("no length", piece(ONE, 0), "gave length=0 for"),
    ("half a length", piece(ONE, 0.5), "gave length=0.5"),
    ("no tensors", lambda self, value, context: SlotFeatures({}, 1), "gave tensors a dict"),
    ("a list of tensors", lambda self, value, context: SlotFeatures([ONE], 1), "gave tensors a list"),
    ("a wrong grid", piece(ONE, grid=np.zeros((3, 2))), r"gave grid float64 \(3, 2\).*; give \(y, x\)"),
    (
        "tokens of floats",
        lambda self, value, context: SlotFeatures({"frames": ONE, "tokens": np.zeros(1, np.float32)}, 1),
        r"gave tokens float32 \(1,\) and length=1 .*; give whole numbers of shape \(1,\)",
    ),
    (
        "two tokens",
        lambda self, value, context: SlotFeatures({"frames": ONE, "tokens": np.zeros(2, np.int64)}, 1),
        r"gave tokens int64 \(2,\) and length=1",
    ),
    (
        "ids nobody has",
        lambda self, value, context: SlotFeatures({"frames": ONE, "tokens": np.array([10**6])}, 1),
        "gave tokens from 1000000 to 1000000 .*; the model has ids 0 to",
    ),
]


@pytest.mark.parametrize(("preprocess", "says"), [case[1:] for case in PIECES], ids=[case[0] for case in PIECES])
def test_no_piece(broken, preprocess, says):
    spec = broken(Scaled, preprocess=preprocess)
    with unwatched():
        with pytest.raises(AssertionError, match=f"^LEVEL, values: LEVEL:x: {told('preprocess', says)}"):
            check_modality(spec, **GOOD)
        for line in (SOURCE, TARGET):
            with pytest.raises(PluginError, match=told("preprocess", says.replace("1.5", ".*"))):
                run(spec, line)


@pytest.mark.parametrize(
    ("frames", "length", "says"),
    [
        (np.zeros(1, np.float32), 1, r"gave frames float32 \(1,\) and length=1; a value that is drawn has frames"),
        (np.zeros((3, 1), np.float32), 2, r"gave frames float32 \(3, 1\) and length=2"),
        (np.zeros((1, 1), np.int64), 1, r"gave frames int64 \(1, 1\)"),
    ],
)
def test_no_frames(broken, frames, length, says):
    spec = broken(Scaled, preprocess=piece(frames, length))
    with pytest.raises(AssertionError, match=told("preprocess", says)):
        check_modality(spec, **GOOD)
    with pytest.raises(PluginError, match=told("preprocess", says)):
        run(spec, TARGET)


ADAPTORS = [
    ("embed", lambda self, t: torch.zeros(2, 3, 32),
     r"gave float32 \(2, 3, 32\), of frames float32 .*; give a floating tensor \(2, 32\)"),
    ("embed", lambda self, t: WaveAdaptor.embed(self, t)[:1], r"gave float32 \(1, 32\)"),
    ("embed", lambda self, t: WaveAdaptor.embed(self, t)[:, :5], r"gave float32 \(2, 5\)"),
    ("embed", lambda self, t: WaveAdaptor.embed(self, t).long(), r"gave int64 \(2, 32\)"),
    ("embed", lambda self, t: WaveAdaptor.embed(self, t).to("meta"), r"gave float32 \(2, 32\) on meta.* on cpu"),
    ("embed", lambda self, t: WaveAdaptor.embed(self, t).detach().numpy(), r"gave float32 \(2, 32\)"),
    ("embed", lambda self, t: None, "gave a NoneType, nothing"),
    ("embed", lambda self, t: t["frames"] @ torch.zeros(7, 7),
     r"raised RuntimeError: .*, of frames float32 \(2, 1\); mend it"),
    ("embed", lambda self, t: t["tokens"], r"raised KeyError: 'tokens', of frames float32"),
    ("predict", lambda self, h, n, t: {"frames": h[:1, :1], "spread": h[:, :1]},
     r"gave frames float32 \(1, 1\) for states float32 \(2, 32\); give a tensor \(2, ...\)"),
    ("predict", lambda self, h, n, t: {"frames": h[:, :3], "spread": h[:, :1]},
     r"gave frames float32 \(2, 3\) .*; give as many numbers as preprocess gives frames, float32 \(2, 1\)"),
    ("predict", lambda self, h, n, t: h, r'gave float32 \(2, 32\) for states .*; give a dict with "frames"'),
    ("predict", lambda self, h, n, t: {"spread": h}, 'gave spread for states .*; give a dict with "frames"'),
    ("predict", lambda self, h, n, t: {"frames": [0.0, 0.0]}, "gave frames a list for states"),
    ("predict", lambda self, h, n, t: h.view(-1, 7), "raised RuntimeError"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "made", "says"), ADAPTORS, ids=range(len(ADAPTORS)))
def test_no_embedding_or_prediction(broken, method, made, says):
    spec = broken(WaveAdaptor, **{method: made})
    with pytest.raises(AssertionError, match=f"^LEVEL, .*{told(method)}"):
        check_modality(spec, **GOOD)
    with pytest.raises(PluginError, match=f"LEVEL.*: {told(method, says)}"):
        run(spec, SOURCE if method == "embed" else TARGET)


def test_a_prediction_that_breaks_when_it_is_asked(broken):
    def predict(self, hidden, lengths, tensors):
        return WaveAdaptor.predict(self, hidden, lengths, tensors) if tensors else hidden.view(-1, 7)

    with pytest.raises(PluginError, match=rf"LEVEL:x: {told('predict', 'raised RuntimeError')}"):
        run(broken(WaveAdaptor, predict=predict), TARGET)


def test_numbers_that_are_not_finite(broken):
    spec = broken(WaveAdaptor, embed=lambda self, t: WaveAdaptor.embed(self, t) / 0)
    with pytest.raises(AssertionError, match=f"batch: as a source, {told('embed', 'gave embeddings', 'hold NaN')}"):
        check_modality(spec, **GOOD)

    def predict(self, hidden, lengths, tensors):
        return WaveAdaptor.predict(self, hidden, lengths, tensors) | {"spread": hidden[:, :1] * torch.nan}

    with pytest.raises(AssertionError, match=f"as target: {told('predict', 'gave spread', 'with NaN')}"):
        check_modality(broken(WaveAdaptor, predict=predict), **GOOD)
    with pytest.raises(AssertionError, match=r"values: tensor 'frames' of 1.5 holds NaN"):
        check_modality(broken(Scaled, preprocess=piece(ONE * np.nan)), **GOOD)


@pytest.mark.parametrize(
    ("methods", "line", "says"),
    [
        ({"collate": lambda self, pieces: [p.tensors for p in pieces]}, SOURCE, "gave tensors a list for . values"),
        ({"collate": lambda self, pieces: {"frames": torch.zeros(2, 1)}}, SOURCE, "gave tensor 'frames' as float32"),
        ({"collate": lambda self, pieces: {"frames": pieces[0].nothing}}, SOURCE,
         "raised AttributeError: .*, of . values"),
        ({"postprocess": lambda self, made, context: made[5]}, TARGET, r"raised IndexError: .*, of float32 \(1, 2\)"),
        ({"__init__": lambda self, options, symbols: options["nothing"]}, SOURCE,
         "raised KeyError: 'nothing'; mend it"),
        ({"fit": staticmethod(lambda values, options, seed: next(values).nothing)}, SOURCE, "raised AttributeError"),
        ({"fit": staticmethod(lambda values, options, seed: [3.0])}, SOURCE,
         "gave a list; give a dict of numpy arrays"),
        ({"fit": staticmethod(lambda values, options, seed: {"unit": 3.0})}, SOURCE,
         "gave 'unit' as a float; give a numpy"),
    ],
)  # fmt: skip
def test_other_methods_of_a_preprocessor(broken, methods, line, says):
    spec, (method,) = broken(Scaled, **methods), methods
    with pytest.raises(AssertionError, match=f"^LEVEL, .*{told(method)}"):
        check_modality(spec, **GOOD)
    with pytest.raises(PluginError, match=f"LEVEL:x: {told(method, says)}"):
        run(spec, line)


def test_an_adaptor_that_cannot_be_made(broken):
    with pytest.raises(PluginError, match=r"LEVEL: Broken.__init__ \(broken_parts\) raised KeyError: 'nothing'"):
        run(broken(WaveAdaptor, __init__=lambda self, options, width: options["nothing"]), SOURCE)


def test_a_preprocessor_that_raises_its_own_errors_spoils_rows_only(broken):
    def preprocess(self, value, context):
        if value == 1.0:
            raise KeyError("one")
        return Scaled.preprocess(self, value, context)

    spec = broken(Scaled, preprocess=preprocess)
    with pytest.raises(AssertionError, match=r"bad input: 1.0 raises KeyError .*, not a DataError: Broken.preprocess"):
        check_modality(spec, **(GOOD | {"bad": [1.0]}))
    where = r"\(task 't', slot 'LEVEL:x', column 'x', sample 'train row 1'\)"
    says = rf"{told('preprocess')}raised KeyError: 'one', of 1.0 {where}"
    with pytest.raises(DataError, match=says):
        run(spec, SOURCE)


def test_texts_that_break(broken):
    from ofasys.modality import BUILT_IN
    from ofasys.modality.text.preprocess import Pieces

    broken(Pieces, texts=staticmethod(lambda value, options, root: value.nothing))
    text = BUILT_IN.spec("TEXT")
    part = replace(text.preprocess["pieces"], load="broken_parts:Broken")
    spec = replace(text, tag="LEVEL", preprocess={"pieces": part})
    with pytest.raises(PluginError, match=f"LEVEL:x: {told('texts', 'raised AttributeError')}"):
        run(spec, "[LEVEL:x] -> [TEXT:a]")


def test_turned_arrays_are_as_good_as_any(broken):
    def preprocess(self, value, context):
        made = Scaled.preprocess(self, value, context)
        return SlotFeatures({"frames": np.repeat(made.tensors["frames"], 2, 1)[::-1, ::-1][:, :1]}, 1)

    check_modality(broken(Scaled, preprocess=preprocess, collate=_reversed), **GOOD)


def _reversed(self, pieces):
    return {"frames": np.concatenate([p.tensors["frames"] for p in pieces[::-1]])[::-1]}


def test_a_value_that_does_not_come_back(broken):
    spec = broken(Scaled, postprocess=lambda self, made, context: 7.0)
    with pytest.raises(
        AssertionError, match=rf"round trip: 1.5, canonically 1.5, came back as 7.0; {told('postprocess')}is to"
    ):
        check_modality(spec, **GOOD)


@pytest.mark.parametrize(
    ("load", "says"),
    [
        ("broken_parts:Borken", r"the module has no 'Borken'; expected one of .* \(did you mean Broken\?\)"),
        ("no_such_module:Broken", "there is no module no_such_module; correct its name"),
    ],
)
def test_a_part_that_is_not_there(broken, load, says):
    spec = broken(Scaled)
    spec = replace(spec, preprocess={"scaled": Part(load, about="x")})
    with pytest.raises(PluginError, match=says):
        run(spec, SOURCE)


def test_a_module_that_does_not_load(tmp_path, monkeypatch):
    (tmp_path / "half_a_plugin.py").write_text("x = 1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match=r"importing it raised ZeroDivisionError: division by zero; mend it"):
        Part("half_a_plugin:X").resolve()


def test_an_entry_point_that_does_not_load(monkeypatch):
    from importlib.metadata import EntryPoint

    from ofasys.modality import registry

    entry = EntryPoint("half", "no_such_module:HALF", "ofasys.modality")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    default_registry.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"plug-in 'half' .* does not load: ModuleNotFoundError: .*; mend it"):
            default_registry()
    finally:
        default_registry.cache_clear()


def test_no_memory_is_no_fault_of_a_plug_in():
    def greedy():
        raise MemoryError

    with pytest.raises(MemoryError):
        plugin.called("LEVEL", greedy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"item": lambda slot, options: None},
         r"LEVEL:x: item= of its spec gave None; give Fixed, Free, OneOf or Continuous"),
        ({"item": lambda slot, options: options["none"]},
         r"LEVEL:x: item= of its spec raised KeyError: 'none'; mend it"),
        ({"expected": lambda options: "1"}, r"\[LEVEL:x\]: expected= of its spec gave '1'; give a whole number"),
        ({"ranges": lambda options: ["a"]}, r"\[LEVEL:x\]: ranges= of its spec gave \['a'\]; give a dict"),
        ({"check": lambda options: 1 / 0},
         r"\[LEVEL:x\]: check= of its spec raised ZeroDivisionError: division by zero"),
        ({"check": lambda options: True}, r"\[LEVEL:x\]: check= of its spec gave True; give a sentence, or None"),
    ],
)  # fmt: skip
def test_functions_of_a_face(broken, change, says):
    spec = replace(broken(Scaled), **change)
    with pytest.raises(AssertionError, match=says):
        check_modality(spec, **GOOD)
    with pytest.raises(PluginError, match=says):
        run(spec, TARGET)
