"""A new task of a model that has learned to read its values otherwise: said, for a new adaptor knows nothing."""

import logging

import numpy as np
import pytest

from ofasys import GeneralistModel, OFASys, Task, Trainer

LINE, NEW = "[IMAGE:img] -> [TEXT:cap]", "[IMAGE:img] what is it? -> [TEXT:cap]"
ROWS = [{"img": np.zeros((16, 16, 3), np.uint8), "cap": "a"}]


def fitted(model, line, settings=None):
    task = Task("one" if line == LINE else "other", line, train=ROWS, settings=settings, micro_batch_size=1)
    return Trainer(max_steps=1, live=False, precision="float32").fit(model=model, tasks=task)


@pytest.fixture(scope="module")
def learned(tiny):
    model = OFASys(GeneralistModel(**tiny.MODEL | {"text_pieces": 260}), ())
    return fitted(model, LINE, {"IMAGE.size": 16, "IMAGE.patch": 8})


@pytest.mark.parametrize(
    ("line", "settings", "said"),
    [
        (NEW, {"IMAGE.size": 16}, "read by a new adaptor image_patch_16, and the model's tasks have learned"),
        (NEW, {"IMAGE.size": 16, "IMAGE.patch": 8}, ""),
        (NEW.replace("img]", "img,preprocess=codes,adaptor=tokens]"), {"IMAGE.fit_steps": 1}, ""),
    ],
)
def test_a_new_adaptor_is_told(learned, caplog, line, settings, said):
    from ofasys.train.start import tell_adaptors

    with caplog.at_level(logging.WARNING, "ofasys"):
        tell_adaptors(learned.model, [Task("other", line, train=ROWS, settings=settings)])
    assert said in caplog.text if said else not caplog.text


def test_settings_of_a_line_go_on_with_what_was_learned(learned):
    assert learned.settings_of(NEW) == {"IMAGE.size": 16, "IMAGE.patch": 8}
    assert learned.settings_of("[TEXT:a] -> [TEXT:b]") == {}
