import pytest

from ofasys.errors import ConfigError
from ofasys.task.when import Epochs, Plateau, Reached, condition


class Seen:
    def __init__(self, epochs=0.0, figure=None, waited=0):
        self.asked = []
        self._epochs, self._figure, self._waited = epochs, figure, waited

    def epochs(self, task):
        self.asked.append(task)
        return self._epochs

    def figure(self, name):
        self.asked.append(name)
        return self._figure

    def waited(self, name):
        self.asked.append(name)
        return self._waited


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 epochs", Epochs(3.0, "own")),
        ("1 epoch", Epochs(1.0, "own")),
        ("2.5 epochs of other.one", Epochs(2.5, "other.one")),
        ("accuracy >= 0.95", Reached("own.accuracy", True, 0.95)),
        ("other.loss <= 5e-1", Reached("other.loss", False, 0.5)),
        ("loss/label <= 1", Reached("own.loss/label", False, 1.0)),
        ("bleu/bleu-4.x >= 1", Reached("own.bleu/bleu-4.x", True, 1.0)),
        ("no better accuracy in 4", Plateau("own.accuracy", 4)),
        ("no better other.loss in 1", Plateau("other.loss", 1)),
    ],
)
def test_what_a_text_says(text, expected):
    assert condition(text, "own", "leave") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "0 epochs",
        "-1 epochs",
        "epochs",
        "accuracy > 0.9",
        "accuracy>=0.9",
        "accuracy >= x",
        "no better loss in 0",
    ],
)
def test_what_says_nothing_is_answered(text):
    with pytest.raises(ConfigError, match=r"task 'own' has leave=.*; it is a step, or a condition as '3 epochs'"):
        condition(text, "own", "leave")


def test_when_they_are_met():
    epochs, above, below = Epochs(2.0, "t"), Reached("t.accuracy", True, 0.5), Reached("t.loss", False, 0.5)
    plateau = Plateau("t.loss", 3)
    assert epochs.met(Seen(epochs=1.99)) is None
    assert epochs.met(Seen(epochs=2.0)) == "2 epochs of 't' are done"
    assert above.met(Seen(figure=0.49)) is None
    assert above.met(Seen(figure=0.5)) == "t.accuracy is 0.5, at least 0.5"
    assert below.met(Seen(figure=0.51)) is None
    assert below.met(Seen(figure=0.5)) == "t.loss is 0.5, at most 0.5"
    assert above.met(Seen()) is below.met(Seen()) is None
    assert plateau.met(Seen(waited=2)) is None
    assert plateau.met(Seen(waited=3)) == "no better t.loss in 3 evaluations"
    seen = Seen()
    for one in (epochs, above, plateau):
        one.met(seen)
    assert seen.asked == ["t", "t.accuracy", "t.loss"]
