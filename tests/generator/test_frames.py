"""Frames one position at a time: where rows stop, that batches change nothing, and that it is the pass it was trained
as.
"""

import numpy as np
import pytest
import torch

from ofasys.generator.frames import frames
from ofasys.modality.audio.adaptor import FramesAdaptor

D, MELS = 16, 8
OPTIONS = {"stop_threshold": 0.5, "min_positions": 1, "max_length": None}


class Recurrent:
    """What came before a value in a model of one recurrence: hidden = tanh(A hidden + B embedding)."""

    most = 1000

    @property
    def rooms(self):
        return torch.as_tensor(self.most).expand(len(self.hidden))

    def __init__(self, starts, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.a, self.b = (torch.randn(D, D, generator=generator) / D**0.5 for _ in range(2))
        self.b = self.b * D**0.5
        self.hidden = torch.stack([torch.randn(D, generator=torch.Generator().manual_seed(s)) for s in starts])
        self.steps = 0

    @property
    def rows(self):
        return len(self.hidden)

    def step(self, embedding):
        assert embedding.shape == (self.rows, 1, D)
        self.steps += 1
        self.hidden = torch.tanh(self.hidden @ self.a + embedding[:, 0] @ self.b)
        return self.hidden


class Counting:
    """An adaptor whose frames count the positions, and which stops after as many as the first state says."""

    def embed(self, tensors):
        return torch.nn.functional.pad(tensors["frames"][::2], (0, D - MELS))

    def predict(self, hidden, lengths, tensors):
        made = (hidden[:, :1] + 1)[:, None].expand(-1, 2, MELS)
        return {"frames": made, "stop": (hidden[:, 0] + 1 - hidden[:, 1]) * 10 + 1}


class Ticking:
    """hidden[0] counts what was read back, hidden[1] stays."""

    most = 1000

    @property
    def rooms(self):
        return torch.as_tensor(self.most).expand(len(self.hidden))

    def __init__(self, lasts):
        self.hidden = torch.zeros(len(lasts), D)
        self.hidden[:, 1] = torch.tensor(lasts, dtype=torch.float)
        self.steps = 0

    def step(self, embedding):
        self.steps += 1
        self.hidden = torch.cat([embedding[:, 0, :1], self.hidden[:, 1:]], 1)
        return self.hidden


def test_rows_stop_each_where_it_should():
    before = Ticking([3, 1, 7])
    made = frames(Counting(), before, OPTIONS)
    assert [len(one) for one in made] == [6, 2, 14]
    for one in made:
        assert one.dtype == np.float32
        assert one[:, 0].tolist() == [i // 2 + 1 for i in range(len(one))]
    assert before.steps == 6  # the last position is not read back: nothing comes after it


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"max_length": 4}, [3, 1, 4]),
        ({"max_length": 1}, [1, 1, 1]),
        ({"max_positions": 4}, [3, 1, 4]),
        ({"max_length": 2, "max_positions": 4}, [2, 1, 2]),
        ({"max_length": 4, "max_positions": 2}, [2, 1, 2]),
        ({"min_positions": 5}, [5, 5, 7]),
        ({"min_positions": 5, "max_length": 2}, [2, 2, 2]),
        ({"stop_threshold": 0.01}, [3, 1, 7]),
        ({"stop_threshold": 0.99}, [4, 2, 8]),
    ],
)
def test_how_long_values_may_be(options, lengths):
    made = frames(Counting(), Ticking([3, 1, 7]), OPTIONS | options)
    assert [len(one) // 2 for one in made] == lengths


def test_a_model_has_only_so_much_room():
    """Each row what it has alone."""
    before = Ticking([50, 50, 4])
    before.most = [10, 20, 20]
    together = frames(Counting(), before, OPTIONS)
    assert [len(one) for one in together] == [20, 40, len(frames(Counting(), Ticking([4]), OPTIONS)[0])]
    alone = Ticking([50])
    alone.most = 10
    np.testing.assert_array_equal(frames(Counting(), alone, OPTIONS)[0], together[0])


@pytest.fixture(scope="module")
def adaptor():
    torch.manual_seed(0)
    made = FramesAdaptor({"mels": MELS, "reduction": 2}, D).eval()
    for parameter in made.postnet.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        made.stop.weight.mul_(5)
    return made


def test_a_row_alone_and_among_others(adaptor):
    options = OPTIONS | {"max_length": 12, "stop_threshold": 0.6}
    together = frames(adaptor, Recurrent([1, 2, 3, 4]), options)
    assert len({len(one) for one in together}) > 1
    for seed, one in zip([1, 2, 3, 4], together, strict=True):
        (alone,) = frames(adaptor, Recurrent([seed]), options)
        np.testing.assert_allclose(alone, one, atol=1e-5)


def test_step_by_step_is_the_whole_pass(adaptor):
    """Its own coarse frames given as if they were the truth, all at once, predict the same value."""
    options = OPTIONS | {"max_length": 9, "stop_threshold": 0.99}
    (made,) = frames(adaptor, Recurrent([5]), options)
    model = Recurrent([5])
    states = [model.hidden]
    with torch.no_grad():
        for _ in range(8):
            coarse = adaptor.predict(torch.cat(states), torch.tensor([len(states)]), {})["coarse"]
            model = Recurrent([5])
            states = [model.hidden]
            for embedding in adaptor.embed({"frames": coarse.flatten(0, 1)}):
                states.append(model.step(embedding[None, None]))
        whole = adaptor.predict(torch.cat(states), torch.tensor([9]), {})["frames"]
    np.testing.assert_allclose(made, whole.flatten(0, 1).numpy(), atol=1e-5)


def test_dropout_has_no_say_and_neither_have_seeds(adaptor):
    options = OPTIONS | {"max_length": 5}
    one, two = (frames(adaptor, Recurrent([1]), options, seeds)[0] for seeds in ([1], [2]))
    np.testing.assert_array_equal(one, two)
