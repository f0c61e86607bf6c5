"""An encoder alone as a backbone: what it brings, that it learns, is saved and loaded, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from ofasys import GeneralistModel, OFASys, Task, Trainer, flow
from ofasys.errors import ConfigError
from tests.engine.huggingface.backbones import tokenizer_of, write

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*does not give every text back")
LINE = "[TEXT:q] -> [TEXT:a,closed_set]"
ROWS = [{"q": "the cat sat", "a": "yes"}, {"q": "red green blue", "a": "no"}, {"q": "x and y", "a": "maybe"}]


def test_its_marks_stand_around_a_source_and_a_mask_begins_the_target(tmp_path: Path) -> None:
    write("bert", tmp_path)
    model = GeneralistModel(engine=f"hf:{tmp_path}")
    ids = {name: tokenizer_of("bert").token_to_id(f"[{name}]") for name in ("CLS", "SEP", "MASK")}
    assert model.config.before == (ids["CLS"],)
    assert model.config.after == (ids["SEP"],)
    assert model.foreign.begin == model.foreign.mask == ids["MASK"]
    assert model.foreign.end == ids["SEP"]
    assert model.tied


def test_texts_are_read_whole_where_its_tokenizer_cuts_and_pads_them(tmp_path: Path) -> None:
    """Those of sentence encoders do both, each text alone: of 128 pieces, whatever is asked of them."""
    write("bert", tmp_path)
    cuts = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    cuts.enable_truncation(4)
    cuts.enable_padding(length=4)
    cuts.save(str(tmp_path / "tokenizer.json"))
    assert len(cuts.encode("a").ids) == len(cuts.encode("the cat sat on the mat").ids) == 4
    model = GeneralistModel(engine=f"hf:{tmp_path}")
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=[{"q": "the cat sat on the mat", "a": "a"}])
    model.grow([(plan, task.labels) for plan in task.plans], lambda: [])
    program = flow.bind(model, task.plans[0], task.labels)
    sample = flow.preprocess(program, {"q": "the cat sat on the mat", "a": "a"})
    ids = sample.source[0][1].tensors["tokens"].tolist()
    assert len(ids) > 4
    assert model.tokenizer.decode(ids) == "the cat sat on the mat"
    assert len(model.config.before) == len(model.config.after) == 1


def test_it_learns_is_saved_and_loaded(tmp_path: Path) -> None:
    folder, out = tmp_path / "encoder", tmp_path / "run"
    folder.mkdir()
    write("bert", folder)
    trainer = Trainer(max_steps=25, lr=1e-2, precision="float32", live=False, out=out, log_every=1)
    task = Task("t", LINE, train=ROWS, micro_batch_size=3)
    trainer.fit(model=GeneralistModel(engine=f"hf:{folder}"), tasks=task)
    folder.rename(tmp_path / "away")  # all was trained, so that nothing of it is needed
    loaded = OFASys.from_pretrained(out)
    assert loaded.model.engine.encoder is None
    answers = loaded.inference(LINE, data=[{"q": row["q"]} for row in ROWS])
    assert [one["a"] for one in answers] == [row["a"] for row in ROWS]


def test_a_target_without_a_source_stands_after_its_marks(tmp_path: Path) -> None:
    write("bert", tmp_path)
    model = GeneralistModel(engine=f"hf:{tmp_path}").eval()
    task = Task("t", "-> [TEXT:a]", train=ROWS)
    model.grow([(plan, task.labels) for plan in task.plans], lambda: [])
    program = flow.bind(model, task.plans[0], task.labels)
    batch = flow.collate(program, [flow.preprocess(program, row) for row in ROWS])
    assert torch.isfinite(model(program, batch).total)


def test_positions_that_are_no_table_and_turns_are_refused(tmp_path: Path) -> None:
    write("bert", tmp_path)
    with pytest.raises(ConfigError, match="is an encoder, which has no turns; leave chat out"):
        GeneralistModel(engine=f"hf:{tmp_path}", config={"chat": True})
    whole = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(whole | {"position_embedding_type": "relative_key"}))
    with pytest.raises(ConfigError, match="position_embedding_type='relative_key': its positions are not those of a"):
        GeneralistModel(engine=f"hf:{tmp_path}")
