"""Requests that are answered together are answered as each is alone, whenever they join, whatever else is asked."""

import random
from concurrent.futures import CancelledError
from threading import Event, Thread
from types import SimpleNamespace

import pytest
import tiny as shared
import torch

from ofasys import AnswerSession, OFASys, flow
from ofasys.errors import ClosedError, ConfigError, DataError, DeadlineError, FullError
from ofasys.generator.flock import OpenBeams, OpenSingle
from ofasys.generator.options import SearchOptions
from ofasys.hub import session as room
from ofasys.hub.turns import Turns
from ofasys.model.matrix import packs
from ofasys.types import TaskCard

WAYS = {
    "greedy": {},
    "beams": {"beam_size": 3, "n_best": 2},
    "drawn": {"sampling": True, "temperature": 1.5, "seed": 3},
    "drawn twice": {"sampling": True, "n_best": 2, "top_k": 9},
    "never twice": {"no_repeat_ngram_size": 1, "min_length": 3},
    "all tokens count": {"normalise": "vocabulary", "beam_size": 2},
}
NAMES = tuple(name for name in shared.ROWS if name != "bare")


def asked(tiny, draw, most=12):
    """A request at random: (program, sample, options, number)."""
    name, way = draw.choice(NAMES), dict(WAYS[draw.choice(list(WAYS))])
    program = tiny.program(name)
    if len(program.stages) != 1 or not any(stage.chosen for stage in program.stages):
        way.pop("n_best", None)
    row = draw.choice(tiny.ROWS[name])
    sample = flow.preprocess(program, row, target=False)
    return program, sample, SearchOptions(max_length=draw.randint(4, most), **way), draw.randrange(99)


def alone(tiny, request):
    program, sample, options, number = request
    return flow.generate(tiny.model(), program, [sample], options, [number])[0]


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.score == pytest.approx(other.score, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_who_joins_between_steps_is_answered_as_alone(tiny, seed):
    draw = random.Random(seed)
    requests = [asked(tiny, draw) for _ in range(20)]
    answers, live, kept = {}, {}, flow.KeptStates()
    with flow.Generations(tiny.model(), kept) as together:
        waiting = list(enumerate(requests))
        while waiting or live:
            while waiting and (not live or draw.random() < 0.5):
                number, (program, sample, options, row) = waiting.pop()
                live[number] = together.begin(program, [sample], options, [row])
            together.turn()
            for number in [number for number, running in live.items() if running.over]:
                answers[number] = live.pop(number).found[0]
        assert together.rows == 0
    assert not tiny.model().training
    for number, request in enumerate(requests):
        same(answers[number], alone(tiny, request))


def test_sources_that_come_between_two_steps_are_read_at_once(tiny, monkeypatch):
    """Those of one content once, those of other lengths apart; where one cannot be read the others are."""
    model, draw = tiny.model(), random.Random(3)
    requests = [asked(tiny, draw) for _ in range(12)]
    passes, real = [], model.compute
    monkeypatch.setattr(model, "compute", lambda source, target: passes.append(source) or real(source, target))
    kept = flow.KeptStates()
    with flow.Generations(model, kept) as together:
        running = [together.begin(program, [sample], o, [row]) for program, sample, o, row in requests]
        assert not passes
        together.turn()
        assert sum(source.layout.batch for source in passes) > 2 * len(passes) > 0
        assert kept.held == sum(states.states.nbytes for states in kept.states.values())
        while not all(one.over for one in running):
            together.turn()
    monkeypatch.undo()
    for request, one in zip(requests, running, strict=True):
        same(one.found[0], alone(tiny, request))


def test_a_source_that_cannot_be_read_spoils_no_other(tiny, monkeypatch):
    model, program = tiny.model(), tiny.program("caption")
    samples = tiny.samples("caption", target=False)[:2]
    options, real, calls = SearchOptions(max_length=3), model.compute, []

    def compute(source, target):
        calls.append(source)
        if len(calls) < 3:  # both at once, then the first of them
            raise RuntimeError("no room")
        return real(source, target)

    monkeypatch.setattr(model, "compute", compute)
    with flow.Generations(model, flow.KeptStates()) as together:
        bad, good = (together.begin(program, [sample], options, [i]) for i, sample in enumerate(samples))
        while not (bad.over and good.over):
            together.turn()
    with pytest.raises(RuntimeError, match="no room"):
        bad.found  # noqa: B018
    monkeypatch.undo()
    same(good.found[0], alone(tiny, (program, samples[1], options, 1)))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_of_a_large_vocabulary_too(tiny, precision, monkeypatch):
    """Its rows are laid out, and only the best tokens are looked at, of all requests at once."""
    monkeypatch.setattr("ofasys.generalist.LARGE_TABLE", 0)
    model, draw = tiny.model(), random.Random(7)
    if precision != "float32" and not packs(model.head.bfloat16()):
        pytest.skip("no products in bfloat16 here")
    requests = [asked(tiny, draw) for _ in range(16)]
    try:
        model.decode_in(precision)
        with flow.Generations(model) as together:
            running = [together.begin(program, [sample], o, [row]) for program, sample, o, row in requests]
            while not all(one.over for one in running):
                together.turn()
        for request, one in zip(requests, running, strict=True):
            same(one.found[0], alone(tiny, request))
    finally:
        model.decode_in("float32")


def test_what_was_judged_is_answered_as_what_was_not(tiny, monkeypatch):
    """States that losses were computed of are in float32; a model that decodes in fewer bits reads the source anew."""
    monkeypatch.setattr("ofasys.generalist.LARGE_TABLE", 0)
    model, program = tiny.model(), tiny.program("caption")
    samples = tiny.samples("caption", target=False)[:3]
    judged = model.compute(flow.adapt(model, flow.collate(program, samples))[0], None).source
    if not packs(model.head.bfloat16()):
        pytest.skip("no products in bfloat16 here")
    read, calls = model.read, []
    monkeypatch.setattr(model, "read", lambda source: calls.append(source) or read(source))
    try:
        for precision, times in (("float32", 1), ("bfloat16", 2)):
            calls.clear()
            model.decode_in(precision)
            found = [
                flow.generate(model, program, samples, SearchOptions(max_length=6), [0, 1, 2], memory)
                for memory in (None, judged)
            ]
            for one, other in zip(*found, strict=True):
                same(one, other)
            assert len(calls) == times
    finally:
        model.decode_in("float32")


def test_places_of_those_that_are_done_are_free(tiny):
    program = tiny.program("caption")
    (sample, *_) = tiny.samples("caption", target=False)
    with flow.Generations(tiny.model()) as together:
        short, long = (
            together.begin(program, [sample], SearchOptions(max_length=n, beam_size=k, min_length=n), [0])
            for n, k in ((3, 4), (9, 2))
        )
        together.turn()
        assert together.rows == 6
        while not short.over:
            together.turn()
        assert together.rows == 2
        together.stop(long)
        assert together.rows == 0


@pytest.mark.parametrize("way", ["greedy", "beams", "drawn"])
def test_a_request_has_the_room_it_has_alone(tiny, way):
    """Near the limit of positions too, and in a batch: a prefix that is long takes no room from another's."""
    program = tiny.program("prompted")
    rows = [{"sent1": "a red cat " * n, "sent2": "dog", "label": "yes"} for n in (1, 4)]
    language = tiny.program("language")
    texts = [flow.preprocess(language, {"t": ""}, target=False)] * 2
    samples = [flow.preprocess(program, row, target=False) for row in rows]
    options = SearchOptions(max_length=400, min_length=100, **WAYS[way])
    with flow.Generations(tiny.model()) as together:
        running = [together.begin(language, [text], options, [i]) for i, text in enumerate(texts)]
        running += [together.begin(program, [sample], options, [i]) for i, sample in enumerate(samples)]
        while not all(one.over for one in running):
            together.turn()
    for i, (text, one) in enumerate(zip(texts, running, strict=False)):
        (found,) = one.found
        same(found, flow.generate(tiny.model(), language, [text], options, [i])[0])
        assert found[0].length > 100


def test_in_a_batch_too_each_row_has_the_room_it_has_alone(tiny):
    line = flow.parse("-> [TEXT:a,no_loss] [TEXT:b]")
    program = flow.bind(tiny.model(), flow.plan(line), {})
    samples = [flow.preprocess(program, {"a": "a cat " * n}, target=False) for n in (1, 12)]
    options = SearchOptions(max_length=400, min_length=60)
    together = flow.generate(tiny.model(), program, samples, options)
    for i, (found, sample) in enumerate(zip(together, samples, strict=True)):
        same(found, flow.generate(tiny.model(), program, [sample], options, [i])[0])
    assert together[0][0].length > together[1][0].length


# --- the session ------------------------------------------------------------------------------------------------------

TEXT, LABEL = "[TEXT:question] -> [TEXT:first]", "[TEXT:question] -> [CATEGORY:group]"
LABELS = {"group": ["food", "flags", "food and flags"]}


@pytest.fixture
def model(tiny):
    return OFASys(tiny.model())


def ask(session, number):
    """One of several kinds of request."""
    row, more = {"question": f"what is {number % 5}"}, {"first": number}
    if number % 3 == 0:
        return session(LABEL, row, closed_set=LABELS, **more)
    if number % 3 == 1:
        return session(TEXT, row, max_length=3 + number % 7, beam_size=1 + number % 2, **more)
    return session(TEXT, row, max_length=8, sampling=True, seed=number, **more)


def asking(tiny):
    return flow.bind(tiny.model(), flow.plan(flow.parse(TEXT)), {})


@pytest.mark.parametrize("way", ["greedy", "drawn", "drawn twice", "never twice"])
def test_rows_of_a_batch_that_others_join_are_answered_as_alone(tiny, way):
    """They leave one by one: who waits for one of them does not wait for the others."""
    program = asking(tiny)
    samples = [flow.preprocess(program, {"question": "a cat " * n}, target=False) for n in range(1, 7)]
    options = [SearchOptions(max_length=9, **WAYS[way]), SearchOptions(max_length=17, **{"min_length": 17} | WAYS[way])]
    with flow.Generations(tiny.model()) as together:
        turns = Turns(together)
        turns.begin(program, samples[:3], options[0], [4, 5, 6], "abc")
        turns.turn()
        turns.begin(program, samples[3:], options[1], [7, 8, 9], "def")
        found, left = {}, []
        while turns.live:
            turns.turn()
            found |= (now := dict(turns.answered()))
            left += [len(turns.rows)] if now else []
        assert together.rows == 0
    for i, name in enumerate("abcdef"):
        same(found[name], flow.generate(tiny.model(), program, [samples[i]], options[i // 3], [4 + i])[0])
    assert left[-1] == 0


def test_one_of_a_batch_that_is_given_up_leaves_alone(tiny):
    program, options = asking(tiny), SearchOptions(max_length=12, min_length=12)
    samples = [flow.preprocess(program, {"question": "a cat " * n}, target=False) for n in (1, 2, 3)]
    with flow.Generations(tiny.model()) as together:
        turns = Turns(together)
        turns.begin(program, samples, options, range(3), "abc")
        turns.turn()
        turns.turn()
        assert together.rows == 3
        turns.leave("b")
        assert (turns.rows, together.rows) == (["a", "c"], 2)
        found = {}
        while turns.live:
            turns.turn()
            found |= turns.answered()
    assert found.keys() == set("ac")
    same(found["c"], flow.generate(tiny.model(), program, [samples[2]], options, [2])[0])


@pytest.mark.parametrize("normalise", ["allowed", "vocabulary"])
def test_beams_of_several_requests_are_one_search(tiny, monkeypatch, normalise):
    """They come at any step, have lengths of their own, and leave when they are done; each as alone."""
    program, draw, together = asking(tiny), random.Random(2), []
    real = OpenBeams.step
    monkeypatch.setattr(OpenBeams, "step", lambda self: together.append(len(self.live)) or real(self))
    texts = [{"question": "what is it " * draw.randint(1, 9)} for _ in range(9)]
    samples = [flow.preprocess(program, row, target=False) for row in texts]
    ways = [{"max_length": most, "min_length": most // 2} for most in (4, 9, 20, 3, 12, 7, 15, 5, 11)]
    options = [SearchOptions(beam_size=3, n_best=2, normalise=normalise, **way) for way in ways]
    running = {}
    with flow.Generations(tiny.model()) as generations:
        while len(running) < 9 or not all(one.over for one in running.values()):
            if len(running) < 9 and (not running or draw.random() < 0.6):
                i = len(running)
                running[i] = generations.begin(program, [samples[i]], options[i], [i])
            generations.turn()
        assert generations.rows == 0
    assert max(together) > 3
    for i, one in running.items():
        same(one.found[0], flow.generate(tiny.model(), program, [samples[i]], options[i], [i])[0])


@pytest.mark.parametrize(("search", "beams"), [(OpenSingle, 1), (OpenBeams, 3)])
def test_where_a_search_in_common_fails_each_goes_on_alone(tiny, monkeypatch, search, beams):
    program, options = asking(tiny), SearchOptions(max_length=6, min_length=6, beam_size=beams)
    samples = [flow.preprocess(program, {"question": "a cat " * n}, target=False) for n in (1, 2)]
    calls, real = [], search.step

    def step(self):
        calls.append(len(self.live))
        if len(calls) == 3:
            raise MemoryError("no room")
        return real(self)

    monkeypatch.setattr(search, "step", step)
    with flow.Generations(tiny.model()) as together:
        running = [together.begin(program, [sample], options, [i]) for i, sample in enumerate(samples)]
        while not all(one.over for one in running):
            together.turn()
        assert together.rows == 0
    assert calls == [2, 2, 2]
    monkeypatch.undo()
    for i, one in enumerate(running):
        same(one.found[0], flow.generate(tiny.model(), program, [samples[i]], options, [i])[0])


def test_rows_of_inference_take_the_places_of_those_that_are_done(model, monkeypatch):
    rows = [{"question": f"what is {n}"} for n in range(11)]
    alone = [model.inference(TEXT, row, first=n, sampling=True, max_length=40) for n, row in enumerate(rows)]
    together, real = [], OpenSingle.step

    def step(self):
        together.append(self.sources)
        return real(self)

    monkeypatch.setattr(OpenSingle, "step", step)
    assert model.inference(TEXT, rows, batch_size=4, sampling=True, max_length=40) == alone
    assert max(together) == 4
    assert sum(together) < 4 * len(together)


def test_the_model_is_not_set_aside_where_no_row_is_left_to_read(model, monkeypatch):
    """What autocast keeps of the weights is lost each time."""
    pauses, turns = [], []
    paused, turn = flow.Generations.paused, flow.Generations.turn
    monkeypatch.setattr(flow.Generations, "paused", lambda self: pauses.append(1) or paused(self))
    monkeypatch.setattr(flow.Generations, "turn", lambda self: turns.append(1) or turn(self))
    assert model.inference(TEXT, {"question": "see"}, max_length=20, min_length=19)["first"]
    assert len(turns) > 15
    assert len(pauses) == 2  # the row is read; its answer becomes a value


def test_many_threads_are_answered_as_one_after_the_other(model):
    one_by_one = [ask(model.inference, number) for number in range(24)]
    found = {}
    with AnswerSession(model, rows=5) as session:

        def work(own):
            for number in own:
                found[number] = ask(session.submit, number).result(60)

        threads = [Thread(target=work, args=(range(first, 24, 4),)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (session.done, session.running, session.waiting) == (24, 0, 0)
        assert session.tokens > 24
    for number, expected in enumerate(one_by_one):
        assert found[number] == expected
        assert found[number].score == pytest.approx(expected.score, abs=1e-3)
        assert len(found[number].nbest) == len(expected.nbest)


def test_texts_come_as_they_are_written_and_slots_when_they_are_whole(model):
    line = "[TEXT:question] -> [TEXT:first] and [TEXT:second] in [CATEGORY:group]"
    with AnswerSession(model) as session:
        pending = session.submit(line, {"question": "see"}, closed_set=LABELS, max_length=30, min_length=12)
        events = list(pending.events())
    out = pending.result()
    kinds = [event.kind for event in events]
    assert kinds[-1] == "done"
    assert events[-1].value is out
    assert [event.column for event in events if event.kind == "slot"] == ["first", "second", "group"]
    assert {event.column: event.value for event in events if event.kind == "slot"} == dict(out)
    told = [event for event in events if event.kind == "text" and event.column == "first"]
    assert len(told) > 3
    assert "".join(event.value for event in told) == out["first"]


def test_what_cannot_be_shown_before_its_end_is_answered_all_the_same(model, monkeypatch, caplog):
    """A part from outside may make nothing of half an answer; others are shown theirs."""
    line, row = shared.INSTRUCTIONS["caption"], shared.ROWS["caption"][0]
    other = shared.INSTRUCTIONS["infill"], shared.ROWS["infill"][0]
    real = flow.values_so_far

    def broken(program, sample, made):
        if program.plan.instruction == line:
            raise KeyError("no such half")
        return real(program, sample, made)

    monkeypatch.setattr(flow, "values_so_far", broken)
    with AnswerSession(model) as session:
        both = [session.submit(line, row), session.submit(*other)]
        events = [list(one.events()) for one in both]
    assert [one[-1].kind for one in events] == ["done", "done"]
    assert both[0].result() == model.inference(line, row)
    assert caplog.text.count("no such half") == 1


def test_one_that_fails_ends_alone(model, monkeypatch):
    real = shared.model().engine.open

    def torn(source, states, sources, group=1, prefix=None, room=64):
        if group == 4:
            raise MemoryError("no room")
        return real(source, states, sources, group, prefix, room)

    monkeypatch.setattr(model.model.engine, "open", torn)
    row = {"question": "see"}
    with AnswerSession(model) as session:
        good, bad, other = (session.submit(TEXT, row, max_length=6, beam_size=k) for k in (1, 4, 2))
        assert good.result(60)["first"] is not None
        with pytest.raises(MemoryError, match="no room"):
            bad.result(60)
        assert [event.kind for event in bad.events()] == ["error"]
        assert other.result(60)["first"] is not None


def test_bad_input_is_told_where_it_is_handed_in(model):
    with AnswerSession(model) as session:
        with pytest.raises(DataError, match="question"):
            session.submit(TEXT, {})
        with pytest.raises(ConfigError, match="beam_sise"):
            session.submit(TEXT, {"question": "a"}, beam_sise=2)
        with pytest.raises(ConfigError, match="submit each row"):
            session.submit(TEXT, [{"question": "a"}])
        with pytest.raises(ConfigError, match="no task 'captoin'"):
            session.submit(task="captoin", data={})
        with pytest.raises(ConfigError, match=r"no task 'captoin' in this run; .*or give an instruction"):
            session.submit("captoin", {})
        with pytest.raises(ConfigError, match="not both"):
            session.submit(data={})
        with pytest.raises(ConfigError, match="deadline"):
            session.submit(TEXT, {"question": "a"}, deadline=0)
        assert session.done == 0
    with pytest.raises(ClosedError):
        session.submit(TEXT, {"question": "a"})
    with pytest.raises(ConfigError, match="rows is 0"):
        AnswerSession(model, rows=0)


def test_a_task_is_named_in_place_of_its_line(model):
    card = TaskCard("asked", (TEXT,))
    row = {"question": "see what"}
    with AnswerSession(OFASys(model.model, [card])) as session:
        ways = [session.submit("asked", row), session.submit(task="asked", data=row), session.submit(TEXT, row)]
        found = [pending.result(60) for pending in ways]
    assert found[0] == found[1] == found[2]
    assert [one.score for one in found] == pytest.approx([found[0].score] * 3)


class Gate:
    """Holds the model's thread where it asks for the states of a source."""

    def __init__(self, model, monkeypatch):
        self.come, self.go = Event(), Event()
        real = model.model.compute

        def compute(source, target):
            self.come.set()
            assert self.go.wait(60)
            return real(source, target)

        monkeypatch.setattr(model.model, "compute", compute)


def test_what_waits_may_be_given_up_run_late_or_be_one_too_many(model, monkeypatch):
    gate, clock = Gate(model, monkeypatch), [0.0]
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    row = {"question": "see"}
    with AnswerSession(model, waiting=3) as session:
        first = session.submit(TEXT, row, max_length=3)
        assert gate.come.wait(60)
        late, gone, last = (session.submit(TEXT, row, max_length=3, **more) for more in ({"deadline": 5.0}, {}, {}))
        with pytest.raises(FullError, match="3 requests wait"):
            session.submit(TEXT, row)
        assert session.waiting == 3
        assert gone.cancel()
        assert not gone.cancel()
        clock[0] = 6.0
        gate.go.set()
        assert first.result(60) == last.result(60)
        with pytest.raises(DeadlineError, match="within 5 s"):
            late.result(60)
        with pytest.raises(CancelledError):
            gone.result()
        assert isinstance(list(gone.events())[-1].value, CancelledError)
    assert session.done == 4


def test_one_that_is_given_up_while_it_is_answered_leaves_its_place(model):
    with AnswerSession(model) as session:
        pending = session.submit(TEXT, {"question": "see"}, max_length=100, min_length=100)
        events = pending.events()
        assert next(events).kind == "text"
        assert pending.cancel()
        assert [event.kind for event in events][-1] == "error"
        again = session.submit(TEXT, {"question": "see"}, max_length=4)
        assert again.result(60) == model.inference(TEXT, {"question": "see"}, max_length=4)
    assert session.running == 0


def test_closed_without_draining_nobody_waits_for_ever(model, monkeypatch):
    gate = Gate(model, monkeypatch)
    session = AnswerSession(model)
    asked = [session.submit(TEXT, {"question": "see"}) for _ in range(2)]
    assert gate.come.wait(60)
    closing = Thread(target=lambda: session.close(drain=False))
    closing.start()
    gate.go.set()
    closing.join(60)
    assert not closing.is_alive()
    for pending in asked:
        with pytest.raises(ClosedError):
            pending.result(60)


def test_while_the_model_is_trained_requests_are_told_so(model):
    with AnswerSession(model) as session:
        with model.model.being_trained(), pytest.raises(ConfigError, match="being trained"):
            session.submit(TEXT, {"question": "see"}).result(60)
        assert session.submit(TEXT, {"question": "see"}, max_length=2).result(60) is not None


def test_sources_are_kept_until_the_weights_change(tiny):
    model = tiny.grown(("two",))
    calls, real = [], model.engine.encode

    def encode(stream):
        calls.append(stream)
        return real(stream)

    model.engine.encode = encode
    with AnswerSession(OFASys(model)) as session:
        ask = lambda: session.submit(TEXT, {"question": "see"}, max_length=3).result(60)  # noqa: E731
        first = ask()
        assert ask() == first
        assert len(calls) == 1
        with torch.no_grad():
            next(model.engine.parameters()).add_(0.5)
        ask()
        assert len(calls) == 2


@pytest.mark.parametrize("line", [LABEL, "[TEXT:question] -> [TEXT:group,closed_set]"])
def test_a_label_is_answered_with_the_exact_probability_of_each(model, line):
    row = {"question": "what is it"}
    ranked = model.inference(line[:-1] + ",generator=rank]", row, closed_set=LABELS)
    with AnswerSession(model) as session:
        out = session.submit(line, row, closed_set=LABELS, scores=True).result(60)
        with pytest.raises(ConfigError, match="one label of a closed set"):
            session.submit(TEXT, row, scores=True)
    assert out.label == ranked.label
    assert out.scores == pytest.approx(ranked.probabilities, abs=1e-6)
    assert set(out.scores) == set(LABELS["group"])
    assert sum(out.scores.values()) == pytest.approx(1.0)
