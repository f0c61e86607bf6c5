"""Build the emoji pack of the demo (ofasys/gallery/emoji/emoji.parquet) from three npm packages.

    python scripts/build_emoji_pack.py [--cache DIR]

Needs npm, and of Python packages resvg-py, Pillow and pyarrow in the versions of constraints.txt: with these the same
bytes come out every time. LICENSE-noto.txt and LICENSE-fluent-emoji.txt are kept by hand, since the npm packages carry
no licence text; LICENSE-emojibase.txt and ATTRIBUTION.md are written here.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import resvg_py
from PIL import Image

from ofasys.gallery.emoji.pack import GROUPS, SIDE, STYLES
from ofasys.gallery.emoji.scenes import OBJECTS

FOLDER = Path(__file__).resolve().parent.parent / "ofasys" / "gallery" / "emoji"
# name, version, sha256 of the tarball
PACKAGES = {
    "noto": (
        "@iconify-json/noto",
        "1.2.9",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    ),
    "fluent": (
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    "emojibase": (
        "emojibase-data",
        "17.0.0",
        "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    ),
}
# Of the emoji of a group, never seen in training; of the others, seen in one style only.
EMOJI_TEST, EMOJI_VALID = 0.15, 0.05
CAPTION_TEST, CAPTION_VALID = 0.20, 0.05

SCHEMA = pa.schema(
    [
        ("hexcode", pa.string()),
        ("style", pa.string()),
        ("emoji", pa.string()),
        ("name", pa.string()),
        ("keywords", pa.list_(pa.string())),
        ("group", pa.string()),
        ("subgroup", pa.string()),
        ("caption_split", pa.string()),
        ("emoji_split", pa.string()),
        ("image", pa.binary()),
    ]
)

Emoji = dict[str, Any]
Drawings = dict[tuple[str, str], Image.Image]


def fetch(key: str, cache: Path) -> Path:
    """The tarball of a package in `cache`, downloaded if it is not there, its checksum verified."""
    name, version, digest = PACKAGES[key]
    path = cache / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
    if not path.exists():
        command = ["npm", "pack", f"{name}@{version}", "--silent", "--pack-destination", str(cache)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        sys.exit(f"{path.name} is not the file this script was written for: sha256 {found}, expected {digest}")
    return path


def member(tarball: Path, name: str) -> bytes:
    """The bytes of one file of an npm tarball."""
    with tarfile.open(tarball) as archive:
        opened = archive.extractfile(f"package/{name}")
        assert opened is not None, name
        return opened.read()


def plain(hexcode: str) -> str:
    """The code points without the one that asks for the picture form, as the icon sets index them."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def renderer(tarball: Path) -> Callable[[str], Image.Image | None]:
    """hexcode -> RGBA drawing, or None if the set has none."""
    icons = json.loads(member(tarball, "icons.json"))
    names = json.loads(member(tarball, "chars.json"))

    def render(hexcode: str) -> Image.Image | None:
        name = names.get(plain(hexcode))
        if name is None:
            return None
        mirrored = False
        while name not in icons["icons"]:
            alias = icons["aliases"][name]
            if not set(alias) <= {"parent", "hFlip"}:
                sys.exit(f"alias {name!r} asks for what this script does not do: {alias}")
            mirrored ^= alias.get("hFlip", False)
            name = alias["parent"]
        icon = icons["icons"][name]
        width, height = icon.get("width", icons["width"]), icon.get("height", icons["height"])
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{SIDE}" height="{SIDE}" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        )
        image = Image.open(io.BytesIO(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))).convert("RGBA")
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image

    return render


def draw(emoji: list[Emoji], tarballs: dict[str, Path]) -> tuple[list[Emoji], Drawings]:
    """The emoji that both styles draw, each unlike all before it, and their drawings."""
    renderers = {style: renderer(tarballs[style]) for style in STYLES}
    kept, drawings, seen = [], {}, {}
    for record in emoji:
        found = {style: render(record["hexcode"]) for style, render in renderers.items()}
        images = {style: image for style, image in found.items() if image is not None}
        if len(images) < len(STYLES):
            continue
        twin = next((seen[key] for style in STYLES if (key := (style, images[style].tobytes())) in seen), None)
        if twin is not None:
            print(f"left out: {record['label']}, in one style the same picture as {twin}")
            continue
        kept.append(record)
        for style, image in images.items():
            seen[style, image.tobytes()] = record["label"]
            drawings[record["hexcode"], style] = image
    return kept, drawings


def share(salt: str, key: str) -> float:
    """A number in 0..1 that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(f"{salt}/{key}".encode()).digest()[:8], "big") / 2**64


def families(emoji: list[Emoji], drawings: Drawings) -> dict[str, str]:
    """hexcode -> family: emoji that differ by gender or direction, or are mirror images, look alike by construction."""
    family: dict[str, str] = {}
    for record in emoji:
        parts = [p for p in plain(record["hexcode"]).split("-") if p not in ("200d", "2640", "2642", "27a1")]
        parts = ["person" if p in ("1f468", "1f469", "1f9d1") else p for p in parts]
        family[record["hexcode"]] = "-".join(parts)
    owner = {(style, image.tobytes()): hexcode for (hexcode, style), image in drawings.items()}
    for (hexcode, style), image in drawings.items():
        twin = owner.get((style, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()), hexcode)
        if family[twin] != family[hexcode]:
            old, new = sorted((family[twin], family[hexcode]), reverse=True)
            family = {key: new if value == old else value for key, value in family.items()}
    return family


def split_emoji(emoji: list[Emoji], family: dict[str, str]) -> dict[str, str]:
    """hexcode -> train, valid or test; whole families, and of each group about the same share."""
    members, group = defaultdict(list), {}
    for record in emoji:
        members[family[record["hexcode"]]].append(record["hexcode"])
        group.setdefault(family[record["hexcode"]], record["group"])
    sizes = Counter(group[name] for name, hexcodes in members.items() for _ in hexcodes)
    taken: Counter[tuple[str, str]] = Counter()
    splits = {}
    for name in sorted(members, key=lambda name: share("emoji", name)):
        hexcodes, where = members[name], group[name]
        wanted = {
            "test": max(2, round(EMOJI_TEST * sizes[where])),
            "valid": max(1, round(EMOJI_VALID * sizes[where])),
        }
        chosen = "train"
        if not any(hexcode in OBJECTS for hexcode in hexcodes):
            fits = (s for s, most in wanted.items() if taken[s, where] + len(hexcodes) <= most)
            chosen = next(fits, "train")
        taken[chosen, where] += len(hexcodes)
        splits.update(dict.fromkeys(hexcodes, chosen))
    return splits


def split_caption(hexcode: str, style: str, emoji_split: str) -> str:
    """What this drawing is for in captioning; "train" also means: it may be seen in the training of any task."""
    if emoji_split != "train":
        return "none"
    held_out = STYLES[share("style", hexcode) < 0.5]
    if hexcode in OBJECTS or style != held_out:
        return "train"
    place = share("caption", hexcode)
    return "test" if place < CAPTION_TEST else "valid" if place < CAPTION_TEST + CAPTION_VALID else "train"


def encode(image: Image.Image) -> bytes:
    """Lossless WebP."""
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=True, quality=100, method=4)
    return buffer.getvalue()


def attribution(emoji: int) -> str:
    """ATTRIBUTION.md."""
    rows = "\n".join(f"| `{name}` | {version} | `{digest}` |" for name, version, digest in PACKAGES.values())
    return f"""# Where the pictures and names come from

`emoji.parquet` holds {emoji:,} emoji, each in two drawing styles, with name, keywords, group and subgroup.

| what | from | copyright | licence |
| --- | --- | --- | --- |
| drawings, style "noto" | Noto Emoji (https://github.com/googlefonts/noto-emoji), as packed by Iconify | \
Google Inc. | Apache-2.0, `LICENSE-noto.txt` |
| drawings, style "fluent" | Fluent Emoji, flat (https://github.com/microsoft/fluentui-emoji), as packed by Iconify | \
Microsoft Corporation | MIT, `LICENSE-fluent-emoji.txt` |
| names, keywords, groups, subgroups | Emojibase (https://github.com/milesj/emojibase) | Miles Johnson | \
MIT, `LICENSE-emojibase.txt` |

Read from these npm packages:

| package | version | sha256 of the tarball |
| --- | --- | --- |
{rows}

Changes made: of the base emoji (no skin tones) that both styles draw, those whose drawing is pixel for pixel that of
another emoji were left out; each SVG was rendered at {SIDE}x{SIDE} pixels with alpha and stored as lossless WebP;
mirrored aliases were mirrored; names were put in lower case; columns that say which drawings are for training,
validation and test were added.

`scripts/build_emoji_pack.py` does all this.
"""


def build(cache: Path) -> None:
    """Write the pack and print what it holds."""
    tarballs = {key: fetch(key, cache) for key in PACKAGES}
    base = tarballs["emojibase"]
    subgroups = json.loads(member(base, "meta/groups.json"))["subgroups"]
    messages = {m["order"]: m["message"] for m in json.loads(member(base, "en/messages.json"))["groups"]}
    records = [r for r in json.loads(member(base, "en/data.json")) if messages.get(r.get("group")) in GROUPS]
    for record in records:
        record["group"] = messages[record["group"]]
    emoji, drawings = draw(sorted(records, key=lambda r: r["order"]), tarballs)
    missing = set(OBJECTS) - {record["hexcode"] for record in emoji}
    if missing:
        sys.exit(f"objects of the scenes that are not in the pack: {sorted(missing)}")
    emoji_split = split_emoji(emoji, families(emoji, drawings))
    rows = [
        {
            "hexcode": hexcode,
            "style": style,
            "emoji": record["emoji"],
            "name": record["label"].lower(),
            "keywords": record.get("tags", []),
            "group": record["group"],
            "subgroup": subgroups[str(record["subgroup"])],
            "caption_split": split_caption(hexcode, style, emoji_split[hexcode]),
            "emoji_split": emoji_split[hexcode],
            "image": encode(drawings[hexcode, style]),
        }
        for record in emoji
        for hexcode, style in ((record["hexcode"], style) for style in STYLES)
    ]
    target = FOLDER / "emoji.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), target, compression="zstd", write_statistics=False)
    (FOLDER / "LICENSE-emojibase.txt").write_bytes(member(base, "LICENSE"))
    (FOLDER / "ATTRIBUTION.md").write_text(attribution(len(emoji)), encoding="utf-8")
    for name in ("LICENSE-noto.txt", "LICENSE-fluent-emoji.txt"):
        if not (FOLDER / name).exists():
            sys.exit(f"{name} is missing: put the licence text beside the pack")
    print(f"{len(emoji)} emoji, {len(rows)} drawings, {target.stat().st_size / 1e6:.2f} MB")
    for column in ("caption_split", "emoji_split"):
        print(column, dict(Counter(row[column] for row in rows)))
    print("groups in test", dict(Counter(row["group"] for row in rows if row["emoji_split"] == "test")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the emoji pack of the demo.")
    parser.add_argument("--cache", type=Path, help="a folder to keep the three tarballs in")
    given = parser.parse_args().cache
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        build(given)
    else:
        with tempfile.TemporaryDirectory() as folder:
            build(Path(folder))
