"""Tasks of the gallery: their rows of made-up packages, their splits, a short run of each; and the real data, where it
was fetched.
"""

import io
import json
import re
import sqlite3
import wave
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ofasys.cli.main import app
from ofasys.errors import ConfigError, DataError
from ofasys.gallery.data import is_fetched
from ofasys.gallery.data.store import held
from ofasys.gallery.sudoku import solve
from ofasys.gallery.tasks import (
    TASKS,
    Data,
    Figure,
    GalleryTask,
    arc,
    captions,
    clips,
    composed,
    databases,
    dictation,
    emoji_names,
    entailment,
    exercises,
    fashion,
    infilling,
    instructions,
    maps,
    moves,
    next_word,
    phones,
    scene_entailment,
    scene_questions,
    spelling,
    sudoku,
    summary,
    syllables,
    table_qa,
    tagging,
    text_to_sql,
    topic,
)
from ofasys.gallery.tasks import rows as rows_module
from ofasys.gallery.tasks.rows import digest, row_files, row_record
from ofasys.gallery.tasks.run import ALL, chosen, gallery_task, run_of
from ofasys.gallery.tasks.split import SPLITS, first_of, folded, part, parted
from ofasys.language import Instruction
from ofasys.metric import METRICS
from ofasys.modality.phone.inventories import inventory
from ofasys.planner import plan
from tests.gallery import standins

BY_NAME = {task.name: task for task in TASKS}
IDS = list(BY_NAME)


@pytest.fixture(scope="session")
def beside(tmp_path_factory):
    """The folder of what rows refer to."""
    return tmp_path_factory.mktemp("beside")


@pytest.fixture(scope="session")
def made(packages, beside):
    """Name -> the rows of a task, of the made-up packages. Only to be read."""
    return cache(lambda name: BY_NAME[name].make(Data(beside, packages)))


@pytest.fixture
def fetched(packages, tmp_path, monkeypatch):
    """The made-up packages stand for what was fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(GalleryTask, "data", lambda self, folder: Data(folder, packages))
    return packages


REAL = "test_the_real_rows"


@pytest.fixture(autouse=True)
def _few_are_made(request, monkeypatch):
    """Boards of sudoku and scenes take a moment each; only the real rows have all of them."""
    if not request.node.name.startswith(REAL):
        monkeypatch.setattr(sudoku, "BOARDS", {"train": 3, "valid": 2, "test": 2})
        monkeypatch.setattr(composed, "COUNTS", {"train": 40, "valid": 10, "test": 20})


# Splits


def test_a_split_is_a_function_of_the_key():
    found = [part(str(i)) for i in range(20_000)]
    assert {split: round(100 * found.count(split) / len(found)) for split in SPLITS} == {
        "train": 85,
        "valid": 5,
        "test": 10,
    }
    assert [part(key) for key in ("0", "3", "17")] == [found[0], found[3], found[17]]
    rows = [{"word": word, "n": i} for i, word in enumerate(["a", "b", "a", "c"] * 3)]
    split = parted(rows, lambda row: row["word"], ("n",))
    assert sorted(row["n"] for one in split.values() for row in one) == list(range(12))
    assert [row["n"] for row in split[part("a")] if rows[row["n"]]["word"] == "a"] == [0, 2, 4, 6, 8, 10]
    assert first_of(rows, lambda row: row["word"]) == rows[:2] + rows[3:4]
    assert folded(" The  Straße\n") == "the strasse"


# Each task


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_every_wording_has_the_same_slots_and_the_rows_fill_them(task, made):
    plans = [plan(Instruction(text), settings=task.settings.get("settings", {})) for text in task.instructions]
    slots = [sorted((slot.column, slot.name.partition(":")[0], slot.side) for slot in one.slots) for one in plans]
    assert len(task.instructions) >= 3
    assert len(set(task.instructions)) == len(task.instructions)
    assert all(one == slots[0] for one in slots)
    rows = made(task.name)
    assert list(rows) == list(SPLITS)
    for split in SPLITS:
        assert rows[split], split
        for row in rows[split]:
            assert {column for column, _, _ in slots[0]} <= set(row), split
            assert all(value not in (None, "", []) for value in row.values())
    assert METRICS[task.metric]


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_rows_are_the_same_each_time(task, packages, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (task.make(Data(tmp_path / name, packages)) for name in "ab")
    assert one == other
    assert digest(one) == digest(other)


def key(value):
    return value if isinstance(value, str | bytes) else json.dumps(value)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        *(("sentiment", "sentence"), ("topic", "about"), ("supersense", "gloss"), ("tagging", "words")),
        *(("summary", "text"), ("translation", "en"), ("fashion", "img"), ("captions", "img"), ("syllables", "wav")),
        *(("pronunciation", "word"), ("text_to_sql", "db"), ("record_text", "text"), ("entailment", "premise")),
        *(("infilling", "text"), ("next_word", "before"), ("emoji_names", "en"), ("spelling", "phones")),
        *(("instructions", "record"), ("table_qa", "table"), ("sudoku", "puzzle"), ("arc", "in")),
        *(("dictation", "text"), ("phones", "wav"), ("tones", "wav"), ("saying", "said"), ("samples", "wav")),
        *(("exercises", "motion"), ("moves", "what")),
        *(("scene_questions", "img"), ("scene_entailment", "img"), ("scene_objects", "img"), ("emoji_search", "img")),
        *(("emoji_drawing", "img"), ("map_regions", "map"), ("clip_events", "clip"), ("clip_captions", "clip")),
        ("clip_making", "cap"),
        *(("clip_questions", "clip"), ("map_names", "map"), ("fashion_halves", "upper")),
    ],
)
def test_no_source_is_in_two_splits(made, name, column):
    rows = made(name)
    seen = {split: {key(row[column]) for row in rows[split]} for split in SPLITS}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["valid"]
    assert not seen["valid"] & seen["test"]


def test_sentences_that_are_there_twice_stand_once(made):
    rows = [row for one in made("sentiment").values() for row in one]
    assert len(rows) == 3 * 32 + 32  # the bad ones are the same on every site
    assert {"sentence": "I hate the red game.", "mood": "negative"} in rows


def test_a_description_is_read_whole(packages, made):
    files = {name: (packages["debian-index"] / name).read_text() for name in ("Packages", "Translation-en")}
    first, *others = topic.described(files["Packages"], files["Translation-en"])
    assert first["synopsis"] == "red library number 0"
    assert first["description"].startswith("This is a red library that does one thing well. It is the 0th of many")
    assert [first["section"], others[1]["section"]] == ["libs", "x11"]
    assert len(others) == 59  # the twin has the description of the first
    assert topic.family({"Package": "libgcc-12-dev", "Source": "gcc-12 (12.2.0)"}) == "gcc-"


def test_tags_lose_their_marks(made):
    rows = [row for one in made("tagging").values() for row in one]
    assert all(len(row["words"].split()) == len(row["tags"].split()) for row in rows)
    assert {"words": "The red library number 0 can't run .", "tags": "at jj nn nn cd md vb ."} in rows
    given = {
        "nn-tl": "nn",
        "fw-at-tl": "at",
        "md*": "md",
        "np$": "np",
        "ppss+bem": "ppss",
        "*": "*",
        "jj-tl-hl": "jj",
        "--": "--",
    }
    assert {tag: tagging.base(tag) for tag in given} == given


def test_the_published_test_set_stays_what_it_is(made):
    rows = made("fashion")
    assert len(rows["test"]) == 20
    assert [row["kind"] for row in rows["test"][:10]] == list(fashion.KINDS)
    assert len(rows["train"]) + len(rows["valid"]) == 80
    with Image.open(io.BytesIO(rows["test"][0]["img"])) as picture:
        assert (picture.size, picture.mode) == ((28, 28), "L")
    with pytest.raises(DataError, match="not IDX"):
        fashion.idx(b"\x89PNG....")


def test_a_style_is_held_out_and_every_name_of_it_is_known(made):
    rows = made("captions")
    assert {row["style"] for row in rows["test"]} == {captions.HELD_OUT}
    assert captions.HELD_OUT not in {row["style"] for row in [*rows["train"], *rows["valid"]]}
    names = {split: {row["cap"] for row in rows[split]} for split in SPLITS}
    assert names["test"] == names["train"]
    assert names["valid"] < names["train"]
    assert len(names["test"]) == 24  # neither parts of emoji nor what a set lacks


def test_a_mirrored_icon_is_turned(made):
    first = next(row for row in made("captions")["test"] if row["cap"] == "red circle")
    with Image.open(io.BytesIO(first["img"])) as picture:
        dark = [x for x in range(64) if picture.getpixel((x, 32)) != (255, 255, 255)]
    assert sum(dark) / len(dark) > 32  # it is drawn left of the middle


def test_each_syllable_is_known_in_the_other_voice(made):
    rows = made("syllables")
    known = [row["said"] for row in rows["train"]]
    held = [row["said"] for row in [*rows["valid"], *rows["test"]]]
    assert set(held) < set(known)
    assert sorted([*known, *held, standins.SYLLABLES[0]]) == sorted(2 * standins.SYLLABLES)
    assert {syllables.held_out(str(i)) for i in range(20)} == set(syllables.VOICES)


def test_a_sentence_and_its_phrases_are_in_one_split(made):
    heard, phrases = made("dictation"), made("phones")
    texts = [row["text"] for row in heard["test"]]
    assert texts[0].split()[2:4] == ["какой-то", texts[0].split()[-1]]
    places = {split: {int(row["text"].split()[-1]) for row in heard[split]} for split in SPLITS}
    signs = list(phones.IPA.values())
    for split in SPLITS:
        firsts = {" ".join(signs[(i + j) % len(signs)] for j in range(4)) for i in places[split]}
        assert firsts <= {row["phones"] for row in phrases[split]}, split
        assert len(phrases[split]) == 2 * len(heard[split])  # neither pauses nor a phrase of one phone


def test_a_phrase_is_cut_with_a_margin_of_its_pause():
    labels = "#\n0.30000 125 pau\n0.40000 125 k\n0.50000 125 aa\n0.70000 125 pau\n0.80000 125 tt"
    assert list(phones.phrases(labels)) == [(0.3, 0.5, ["k", "aa"]), (0.7, 0.8, ["tt"])]
    whole = standins._wav(1.0, 0.1)
    with wave.open(io.BytesIO(phones.cut(whole, 0.3, 0.5))) as piece, wave.open(io.BytesIO(whole)) as file:
        file.setpos(round(0.25 * 16000))
        assert piece.readframes(9**9) == file.readframes(round(0.3 * 16000))
    with wave.open(io.BytesIO(phones.cut(whole, 0.0, 1.0))) as piece:
        assert piece.getnframes() == 16000


def test_every_label_of_a_phone_is_a_sign_of_its_own():
    assert len(set(phones.IPA.values())) == len(phones.IPA) == 50
    units = inventory("ipa").read(" ".join(phones.IPA.values()))
    assert len(units) == 50
    assert [phones.IPA[label] for label in ("rr", "hh", "gg", "ch")] == ["rʲ", "xʲ", "ɡʲ", "t͡ɕ"]


def test_marks_of_stress_and_punctuation_are_left_out():
    said = dictation.transcripts("( ru_1 \"Вол+ос, - 'Он' какой-то: да!\" )\n")
    assert {name: dictation.letters(text) for name, text in said.items()} == {"ru_1": "волос он какой-то да"}


def test_tones_of_a_syllable_are_in_one_split_in_both_voices(made):
    assert sum(map(len, made("tones").values())) == 2 * len(standins.SYLLABLES) - 1
    assert {row["tone"] for row in made("tones")["train"]} == {"high", "rising"}
    assert sum(map(len, made("saying").values())) == len(standins.SYLLABLES)


def test_variants_of_a_sound_are_in_one_split(made):
    rows = made("samples")
    assert sum(map(len, rows.values())) == 8 * 2 * len(standins.THINGS)
    assert all(len(one) % 2 == 0 for one in rows.values())


def test_a_watch_is_read_without_running_what_stands_in_its_file(made, packages):
    row = made("exercises")["test"][0]
    assert np.shape(row["motion"]["positions"]) == (100, 2, 3)
    whole = Data(Path(), packages).archive("seglearn").read(exercises.FILE)
    signals = exercises.recordings(whole)["X"][2]  # of the third person
    assert np.allclose(row["motion"]["positions"][0], signals[:2].reshape(2, 2, 3).mean(0), atol=1e-3)
    assert len(exercises.windows(np.zeros((399, 6)))) == 1
    file = io.BytesIO()
    np.save(file, np.array({"X": Path()}, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="asks for pathlib"):
        exercises.recordings(file.getvalue())


def test_keyframes_become_frames_at_one_rate(made):
    content = standins._animation(np.random.default_rng(0), 4)
    places, seconds = moves.keyframes(content)
    frames = moves.moved(places, seconds)
    assert seconds.tolist() == [0.25] * 4
    assert np.allclose(frames[::5], places)
    assert np.allclose(frames[1], 0.8 * places[0] + 0.2 * places[1])
    assert len(moves.moved(places, seconds * 20)) == moves.MOST
    with pytest.raises(DataError, match="4 frames of 20 joints in 100 bytes"):
        moves.keyframes(content[:100])
    names = {row["what"] for rows in made("moves").values() for row in rows}
    assert "red library" in names
    assert "tempanim" not in names


def test_a_plural_is_where_its_word_is(made):
    rows = {row["word"]: (split, row) for split, one in made("pronunciation").items() for row in one}
    assert rows["bas"][1] == {"word": "bas", "phones": "B AA S", "ways": ["B AA S", "B AA Z"]}
    assert rows["bas"][0] == rows["ba's"][0]
    assert not {"a.d.", "3d"} & set(rows)


def test_a_line_is_in_one_split_in_all_languages(made):
    places = {}
    for split, rows in made("translation").items():
        for row in rows:
            places.setdefault(row["en"], set()).add(split)
    assert all(len(one) == 1 for one in places.values())
    assert len(places) == 60


def test_databases_of_tests_are_in_no_other_split_and_every_query_has_one_answer(made, beside):
    rows = made("text_to_sql")
    files = {split: {row["db"].removesuffix(".db") for row in rows[split]} for split in SPLITS}
    assert files["test"] == set(text_to_sql.TEST)
    assert files["valid"] == set(text_to_sql.VALID)
    every = {*databases.VEGA, *databases.MENDELEEV, "countries"}
    assert files["train"] == every - files["test"] - files["valid"]
    forms = set()
    for row in (row for one in rows.values() for row in one):
        connection = sqlite3.connect(beside / row["db"])
        found = connection.execute(row["sql"]).fetchall()
        assert found, row
        assert None not in {value for one in found for value in one}, row
        if " ORDER BY " in row["sql"] and " GROUP BY " not in row["sql"]:
            column = row["sql"].split()[1], row["sql"].split(" ORDER BY ")[1].split()[0]
            table = row["sql"].split(" FROM ")[1].split()[0]
            best = connection.execute(
                f"SELECT count(*) FROM {table} WHERE {column[1]} = (SELECT max({column[1]}) FROM {table})"
            ).fetchone()
            assert best == (1,), row
        forms.add(re.sub(r"[a-z]\w*|'.*?'|[\d.]+", "_", row["sql"]))
        assert row["true"] == [[row["sql"], row["db"]]]
        assert not re.search(r"[{}]", row["question"] + row["sql"])
        connection.close()
    assert len(forms) >= 12


def test_a_sentence_comes_with_what_follows_contradicts_and_neither(made):
    rows = [row for one in made("entailment").values() for row in one]
    of_one = {row["relation"]: row["hypothesis"] for row in rows if row["premise"] == "the redlibrary lay there"}
    assert set(of_one) == set(entailment.LABELS)
    assert of_one["follows"] == "the redwarea lay there"
    assert of_one["contradicts"] == "the rededitor lay there"
    relations = [row["relation"] for row in rows]
    assert len({relations.count(relation) for relation in entailment.LABELS}) == 1


def test_meanings_have_their_words_links_and_sentences():
    noun = '00000007 06 n 03 2D_a 0 half_b 0 cat 1 002 @ 00000003 n 0000 ! 00000009 n 0301 | a pet; "a cat ran"'
    given = "  1 a licence\n" + noun + "\n00000003 03 n 01 x_y 0 000 | no word of letters  "
    found = entailment.meanings(given)
    assert found == {"00000007": entailment.Meaning("cat", ("00000003",), ("00000009",), ("a cat ran",))}


def test_the_answer_of_a_gap_completes_the_sentence(made):
    whole = {row["words"] for one in made("tagging").values() for row in one}
    for row in (row for one in made("infilling").values() for row in one):
        assert row["text"].replace("<mask>", row["words"]) in whole
        assert row["text"].count("<mask>") == 1
        assert 1 <= len(row["words"].split()) <= infilling.MOST
    assert infilling.hidden(["1", "2", "3", "4", "5", "6"]) is None


def test_a_text_goes_on_within_its_file():
    files = [("one two three .", "a"), ("four five six .", "a"), ("seven eight .", "b"), (". .", "b")]
    rows = list(next_word.begun([{"words": words, "file": file} for words, file in files]))
    assert len(rows) == 1
    assert f"{rows[0]['before']} {rows[0]['next']}" in ("one two three . four five", "one two three . four five six")


def test_who_does_it_is_left_out_of_what_an_emoji_shows():
    told = ("woman running: facing right", "man running", "person running")
    assert {emoji_names.family(name) for name in told} == {"running"}
    assert emoji_names.family("man") == "man"


def test_words_that_sound_alike_are_of_one_family():
    told = [("red", ["R EH D"]), ("read", ["R EH D", "R IY D"]), ("reads", ["R IY D Z"]), ("go", ["G OW"])]
    rows = spelling.heard([{"word": word, "ways": ways} for word, ways in told])
    assert rows[0] == {"phones": "R EH D", "word": "red", "words": ["red", "read"]}
    family = spelling.families(rows)
    assert family["red"] == family["read"] == family["reads"] != family["go"]


def test_test_rows_ask_in_words_that_training_never_read(made):
    last = {wordings[-1] for wordings, _ in instructions.ASKED.values()}
    for split, rows in made("instructions").items():
        assert all((row["ask"] in last) == (split == "test") for row in rows)
    assert len(instructions.ASKED) == 15
    every = [wording for wordings, _ in instructions.ASKED.values() for wording in wordings]
    assert len(set(every)) == 60


def test_each_instruction_is_answered_from_the_record():
    record = {"package": "ab-c", "version": "1.2", "section": "libs", "size": 1200}
    record |= {"needs": "libc6, zlib1g", "tags": "role::shared-lib, implemented-in::c"}
    found = {name: answer(record) for name, (_, answer) in instructions.ASKED.items()}
    assert found == {
        **{"name": "ab-c", "section": "libs", "version": "1.2", "size": "1200", "first": "libc6", "last": "zlib1g"},
        **{"many": "2", "libc": "yes", "large": "yes", "role": "shared-lib", "written": "c", "tags": "2"},
        **{"place": "libs/ab-c", "capitals": "AB-C", "letter": "a"},
    }
    bare = {**record, "needs": "", "tags": "use::viewing"}
    lacking = {name for name, (_, answer) in instructions.ASKED.items() if answer(bare) is None}
    assert lacking == {"first", "last", "role", "written"}
    assert instructions.ASKED["many"][1](bare) == "0"


def test_answers_over_a_table_are_what_the_table_says(made):
    seen = set()
    for row in (row for one in made("table_qa").values() for row in one[:300]):
        table, question, answer = json.loads(row["table"]), row["question"], row["answer"]
        name, *columns = table[0]
        if found := re.fullmatch(r"what is the (.+) of (.+)\?", question):
            (cell,) = [line[found[1].replace(" ", "_")] for line in table if str(line[name]) == found[2]]
            assert str(cell) == answer
        elif found := re.fullmatch(r"whose (.+) is the (highest|lowest)\?", question):
            column = found[1].replace(" ", "_")
            best = (max if found[2] == "highest" else min)(table, key=lambda line: line[column])
            assert str(best[name]) == answer
        elif found := re.fullmatch(r"(.+) or (.+): more (.+)\?", question):
            asked = [line for line in table if str(line[name]) in found.groups()[:2]]
            assert str(max(asked, key=lambda line: line[found[3].replace(" ", "_")])[name]) == answer
        elif found := re.fullmatch(r"number of .+ with (.+) (\S+)\?", question):
            held = [line for line in table if any(str(line[column]) == found[2] for column in columns)]
            assert int(answer) <= len(held)
        else:
            continue
        seen.add(question.split()[0])
    assert {"what", "whose", "number"} <= seen
    assert len(table_qa.FORMS) == 5


def test_a_sudoku_written_anew_is_one(made):
    digits = set(range(1, 10))
    for row in (row for one in made("sudoku").values() for row in one):
        board = row["solution"]
        boxes = [[board[y + i][x + j] for i in range(3) for j in range(3)] for y in (0, 3, 6) for x in (0, 3, 6)]
        assert all(set(unit) == digits for unit in [*board, *zip(*board, strict=True), *boxes])
        given = list(zip(chain(*row["puzzle"]), chain(*board), strict=True))
        assert all(cell in (0, full) for cell, full in given)
        assert sudoku.GIVENS[0] <= sum(cell > 0 for cell, _ in given) <= sudoku.GIVENS[1]
    assert solve(made("sudoku")["test"][0]["puzzle"], 2) == [made("sudoku")["test"][0]["solution"]]


def test_no_puzzle_of_the_published_evaluation_is_learned(made):
    rows = made("arc")
    assert len(rows["test"]) == 3  # of each puzzle its one question
    assert all([line[::-1] for line in row["in"]] == row["out"] for row in rows["test"])
    held = {str(row[name]) for row in rows["test"] for name in ("in", "in1", "in2", "in3")}
    learned = [*rows["train"], *rows["valid"]]
    assert not held & {str(row[name]) for row in learned for name in ("in", "in1", "in2", "in3")}
    assert max(len(line) for row in learned for line in row["in"]) <= arc.SIDE
    assert len(rows["train"]) // (arc.CHANGED + 1) + len(rows["valid"]) == 41  # neither the large one nor the short one


def test_a_puzzle_that_is_changed_keeps_its_rule():
    pairs = [([[0, i], [i, 3]], [[i, 0], [3, i]]) for i in range(1, 7)]  # mirrored
    for seed in range(20):
        row = arc.changed(pairs, Random(seed))
        mirrors = [
            all([line[::-1] for line in row[f"in{n}"]] == row[f"out{n}"] for n in ("1", "2", "3", "")),
            all(row[f"in{n}"][::-1] == row[f"out{n}"] for n in ("1", "2", "3", "")),
        ]
        assert any(mirrors)  # turned by a quarter, left and right are above and below
        assert len({str(row[f"in{n}"]) for n in ("1", "2", "3", "")}) == 4


# Scenes, maps and clips


def test_a_box_of_a_scene_holds_its_object_and_nothing_else(packages, beside):
    sprites = composed.Sprites(Data(beside, packages), composed.STYLES["test"])
    assert sprites.styles == ("openmoji",)
    for seed in range(20):
        scene = composed.compose(sprites, Random(seed), ["tree", "fish", "tree", "key"])
        picture, bare = np.asarray(scene.picture(), int), np.asarray(scene.backdrop.draw(composed.SIDE), int)
        changed = np.abs(picture - bare).max(2) > 8
        for x1, y1, x2, y2 in (item.box for item in scene.items):
            inside = changed[y1:y2, x1:x2]
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
            changed[y1:y2, x1:x2] = False
        assert not changed.any()
        assert [item.box for item in scene.items] == sorted(item.box for item in scene.items)


def test_answers_are_true_of_the_scene(packages, beside):
    sprites = composed.Sprites(Data(beside, packages), composed.STYLES["train"])
    for turn in range(24):
        scene, question, answer = scene_questions._exists(sprites, Random(turn), turn)
        assert (question.split()[-1].rstrip("?") in " ".join(scene.names)) == (answer == "yes")
        scene, _, answer = scene_questions._objects(sprites, Random(turn), turn)
        assert len(scene.items) == int(answer)
        scene, question, answer = scene_questions._kind(sprites, Random(turn), turn)
        kind = question.removeprefix("how often is there ").removesuffix("?").partition(" ")[2]
        assert scene.names.count(kind) == int(answer)
        scene, question, answer = scene_questions._end(sprites, Random(turn), turn)
        axis, sign = scene_questions.ENDS[question.removeprefix("what is ").removesuffix("?")]
        assert max(scene.items, key=lambda item: sign * item.centre[axis]).name == answer
        truth = ("yes", "no")[turn % 2]
        scene, sentence, answer = scene_entailment._relation(sprites, Random(turn), truth)
        words = next(one for one in scene_entailment.SIDES if f" is {one} the " in sentence)
        first, second = sentence.removeprefix("the ").split(f" is {words} the ")
        centres = {item.name: item.centre for item in scene.items}
        axis, sign = scene_entailment.SIDES[words]
        assert (sign * (centres[first][axis] - centres[second][axis]) > 0) == (answer == "yes")


def test_a_sentence_alone_does_not_tell_its_answer(made):
    rows = made("scene_entailment")["train"]
    assert {row["answer"] for row in rows if row["sentence"].startswith("there is")} == {"yes", "no", "maybe"}
    assert {row["answer"] for row in rows if not row["sentence"].startswith("there is")} == {"yes", "no"}


def frames_of(content):
    """Of a clip of the gallery, each (SIDE, SIDE, 3)."""
    with Image.open(io.BytesIO(content)) as film:
        assert (film.n_frames, film.size) == (clips.FRAMES, (clips.SIDE, clips.SIDE))
        frames = []
        for i in range(clips.FRAMES):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB"), int))
        return frames


def test_a_clip_has_all_its_frames_and_does_what_is_said(packages, beside):
    sprites = composed.Sprites(Data(beside, packages), composed.STYLES["valid"])
    for seed, event in enumerate(clips.EVENTS):
        clip = clips.film(sprites, Random(seed), event)
        frames = frames_of(clip.film)
        assert clip.name != clip.still
        change = np.abs(frames[-1] - frames[0]).max(2)[:-1, :-1]
        assert change.any(), event
    with pytest.raises(KeyError):
        clips.film(sprites, Random(0), "moves away")


def test_a_clip_that_is_made_does_what_its_sentence_says(made):
    """Where what is not white lies, in the first and the last frame."""
    rows = made("clip_making")
    assert {row["style"] for row in rows["test"]} == {"noto", "fluent", "twemoji"}

    def seen(row):
        first, *_, last = frames_of(row["clip"])
        return [np.argwhere(frame[:31, :31].min(2) < 250) for frame in (first, last)]

    ways = {"left": (1, -1), "right": (1, 1), "up": (0, -1), "down": (0, 1)}
    for row in rows["test"]:
        first, last = seen(row)
        event = row["cap"].split()[-1]
        if event in ways:
            axis, sign = ways[event]
            assert sign * (last.mean(0) - first.mean(0))[axis] > 5
        else:
            wanted = {"appears": (0, 1), "disappears": (1, 0), "grows": (1, 2), "shrinks": (2, 1)}[event]
            assert np.sign(len(last) - len(first)) == np.sign(wanted[1] - wanted[0])
            assert (len(first) == 0, len(last) == 0) == (wanted[0] == 0, wanted[1] == 0)


def test_the_box_of_a_region_is_that_of_its_largest_part(made):
    rows = [row for one in made("map_regions").values() for row in one]
    assert len(rows) == 120
    first = next(row for row in rows if row["name"] == "Part 1 of 7")
    assert first["box"] == [45, 16, 70, 64]  # of 35..55 and 10..40 in 100 x 80 pixels
    ring = np.ones((5, 5), bool)
    ring[1:4, 1:4] = False
    ring[2, 2] = True
    assert maps.largest_part(ring) == (0, 0, 5, 5)
    assert maps.largest_part(ring & False) is None
    cup = np.array([[1, 0, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0], [1, 0, 0]], bool)
    assert maps.largest_part(cup) == (0, 0, 3, 3)


def test_halves_are_of_one_picture(made):
    row, whole = made("fashion_halves")["test"][0], made("fashion")["test"][0]
    parts = [np.asarray(Image.open(io.BytesIO(row[name]))) for name in ("upper", "lower")]
    assert (np.concatenate(parts) == np.asarray(Image.open(io.BytesIO(whole["img"])))).all()


# Rows as files


def test_rows_are_made_once_and_again_where_they_are_cut_short(fetched, caplog):
    task = BY_NAME["sentiment"]
    files = row_files(task)
    before = files["test"].stat().st_mtime_ns
    assert row_files(task) == files
    assert files["test"].stat().st_mtime_ns == before
    assert row_record(task)["rows"] == {"train": 114, "valid": 8, "test": 6}
    files["test"].write_bytes(files["test"].read_bytes()[:-9])
    caplog.clear()
    row_files(task)
    assert "were changed or cut short: made again" in caplog.text
    caplog.clear()
    row_files(task)
    assert not caplog.text


@pytest.mark.usefixtures("fetched")
def test_one_process_makes_rows_at_a_time(monkeypatch, tmp_path):
    task, seen = BY_NAME["sentiment"], []

    def make(data):
        with pytest.raises(BlockingIOError), held(data.folder.parent / "sentiment.lock", wait=False):
            pass
        seen.append(data.folder)
        return {split: [{"sentence": split, "mood": "positive"}] for split in SPLITS}

    make.__module__ = task.make.__module__
    row_files(replace(task, make=make))
    row_files(replace(task, make=make))
    assert len(seen) == 1


def test_other_code_and_other_packages_are_other_rows():
    one, version = BY_NAME["summary"], rows_module._version
    assert version(one) == version(replace(one, trivial=Figure(0.5, "a guess"), steps=7))
    assert version(one) != version(replace(one, packages=("debian-index", "debian-translations")))
    assert version(one) != version(replace(one, make=topic.make))
    used = {path.name for path in rows_module._code(summary)}
    assert used == {"summary.py", "topic.py", "split.py"}
    assert "translation.py" in {path.name for path in rows_module._code(emoji_names)}
    used = {path.parent.name for path in rows_module._code(sudoku) if path.name == "sudoku.py"}
    assert used == {"tasks", "gallery"}  # the boards are made in the room above


def test_a_library_that_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("ofasys.gallery.tasks.task.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r'gallery:captions makes its rows with resvg_py: pip install "ofasys\[gallery\]"'
    ):
        BY_NAME["captions"].data(tmp_path)


def test_chosen_tasks_keep_their_order():
    assert [task.name for task in chosen(["fashion", "sentiment", "fashion"])] == ["sentiment", "fashion"]
    assert chosen([ALL]) == list(TASKS)
    with pytest.raises(ConfigError, match="no task 'captoins' in the gallery; did you mean captions"):
        chosen(["captoins"])
    with pytest.raises(ConfigError, match="no task of the gallery was named"):
        chosen([])


def test_what_is_not_fetched_is_said_before_any_rows_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"sentiment 5\.0\.2 is not fetched; expected .* ofasys data fetch sentiment"):
        run_of([ALL])
    assert not list(tmp_path.rglob("*.parquet"))


# Training

SMALL = "model.config={width: 32, heads: 2, ffn: 64, encoder_layers: 1, decoder_layers: 1}"
QUICK = ("trainer.live=false", "trainer.eval_every=0", "model.text_pieces=400", SMALL)


@pytest.fixture
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread", "fetched")
def test_every_task_trains_evaluates_and_answers_by_one_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [f"tasks.{name}.micro_batch_size=2" for name in BY_NAME]
    words = (task.name for task in TASKS if re.search(r"-> \[(TEXT|PHONE):", task.instructions[0]))
    small += [f"tasks.{name}.generate.max_length=3" for name in words]
    coded = ((task.name, re.search(r"-> \[(IMAGE|VIDEO):", task.instructions[0])) for task in TASKS)
    small += [f"tasks.{name}.settings={{{found[1]}.fit_steps: 2}}" for name, found in coded if found]
    words = ["train", "gallery:all", f"trainer.max_steps={len(TASKS)}", *QUICK, *small]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "next: ofasys evaluate runs/gallery-all" in done.stdout
    done = CliRunner().invoke(app, ["evaluate", "runs/gallery-all", "--limit", "1", "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert list(figures) == IDS
    for task in TASKS:
        assert METRICS[task.metric].main in figures[task.name]
        assert figures[task.name]["samples"] == 1
    done = CliRunner().invoke(app, ["infer", "runs/gallery-all", "sentiment", "sentence=good"])
    assert done.stdout.strip() in ("negative", "positive")


@pytest.mark.usefixtures("_one_thread", "fetched")
def test_one_task_trains_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["train", "gallery:sentiment", "trainer.max_steps=2", *QUICK])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "runs" / "gallery-sentiment" / "run.yaml").is_file()
    assert str(gallery_task("sentiment")).startswith("Task('sentiment', 'what is the mood of [TEXT:sentence]")


# The real data


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_the_real_rows_are_those_the_figures_were_measured_on(task):
    if lacking := [one.name for one in task.records if not is_fetched(one)]:
        pytest.skip(f"not fetched: {', '.join(lacking)} (ofasys data fetch {task.name})")
    record = row_record(task)
    assert tuple(record["rows"].values()) == task.rows
    assert record["digest"] == task.digest
