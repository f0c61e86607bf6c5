"""BVH text <-> Motion, exactly: every number comes back as it was, and what was written is written the same again."""

from __future__ import annotations

import re
import warnings

import numpy as np

from ofasys.errors import DataError, perhaps
from ofasys.modality.motion.motion import Motion
from ofasys.modality.motion.skeleton import POSITIONS, ROTATIONS, Skeleton, Triple

MOST_BYTES = 128 * 2**20
MOST_JOINTS = 10_000
_KNOWN = {name.lower(): name for name in POSITIONS + ROTATIONS}


def read_bvh(text: str) -> Motion:
    """The motion a BVH file holds. Keywords in any case, one frame a line; one frame more than `Frames:` says is left
    out.

    Errors: DataError with the line and what was expected there.
    """
    if len(text) > MOST_BYTES:
        raise DataError(f"a BVH text of {len(text):,} characters", expected=f"at most {MOST_BYTES:,}")
    lines = _Lines(text)
    skeleton = _hierarchy(lines)
    return _motion(lines, skeleton)


def write_bvh(motion: Motion) -> str:
    """BVH text; each number in the fewest digits that read back to it."""
    skeleton = motion.skeleton
    children: list[list[int]] = [[] for _ in skeleton.names]
    for joint, parent in enumerate(skeleton.parents[1:], 1):
        children[parent].append(joint)
    order, lines = [], ["HIERARCHY"]
    stack: list[tuple[int, int]] = [(0, 0)]  # (joint, depth); ~joint closes it
    while stack:
        joint, depth = stack.pop()
        tabs = "\t" * depth
        if joint < 0:
            lines.append(f"{tabs}}}")
            continue
        order.append(joint)
        names = skeleton.channels[joint]
        lines += [f"{tabs}{'JOINT' if depth else 'ROOT'} {skeleton.names[joint]}", f"{tabs}{{"]
        lines += [f"{tabs}\tOFFSET {_numbers(skeleton.offsets[joint])}"]
        lines += [" ".join([f"{tabs}\tCHANNELS {len(names)}", *names])]
        for end in (offset for at, offset in skeleton.ends if at == joint):
            lines += [f"{tabs}\tEnd Site", f"{tabs}\t{{", f"{tabs}\t\tOFFSET {_numbers(end)}", f"{tabs}\t}}"]
        stack.append((~joint, depth))
        stack += [(child, depth + 1) for child in reversed(children[joint])]
    lines += ["MOTION", f"Frames: {len(motion)}", f"Frame Time: {_number(motion.frame_time)}"]
    values = motion.values[:, _columns(skeleton, order)]
    lines += [_numbers(row) for row in values.tolist()]
    return "\n".join(lines) + "\n"


def _columns(skeleton: Skeleton, order: list[int]) -> list[int]:
    """Columns of the values when the joints come in this order."""
    starts = np.cumsum([0, *(len(names) for names in skeleton.channels)]).tolist()
    return [column for joint in order for column in range(starts[joint], starts[joint + 1])]


def _number(value: float) -> str:
    text = repr(float(value))
    return text.removesuffix(".0")


def _numbers(values: list[float] | Triple) -> str:
    return " ".join(map(_number, values))


class _Lines:
    """Lines that are not blank, one at a time; a brace at the end of a line is a line of its own."""

    def __init__(self, text: str) -> None:
        self.all = text.removeprefix("\ufeff").splitlines()
        self.at = 0  # the line last taken, counted from 1
        self.kept: str | None = None

    def next(self, expected: str) -> str:
        """The next line, stripped."""
        if self.kept is not None:
            line, self.kept = self.kept, None
            return line
        while self.at < len(self.all):
            line = self.all[self.at].strip()
            self.at += 1
            if len(line) > 1 and line[-1] in "{}":
                line, self.kept = line[:-1].rstrip(), line[-1]
            if line:
                return line
        raise DataError(f"line {self.at}: the text ends here", expected=expected)

    def wrong(self, what: str, expected: str) -> DataError:
        """An error at the line last taken."""
        return DataError(f"line {self.at}: {what}", expected=expected)


def _hierarchy(lines: _Lines) -> Skeleton:
    line = lines.next("HIERARCHY")
    if line.upper() != "HIERARCHY":
        raise lines.wrong(f"got {_shown(line)}", "HIERARCHY, the first word of a BVH file")
    names: list[str] = []
    parents: list[int] = []
    offsets: list[Triple | None] = []
    channels: list[tuple[str, ...] | None] = []
    ends: list[tuple[int, Triple]] = []
    opened: list[int] = []  # joints whose braces are open
    while not names or opened:
        word, _, rest = _words(
            line := lines.next("ROOT and its joints" if not opened else "} of the joints that are open")
        )
        here = opened[-1] if opened else -1
        inside = "OFFSET, CHANNELS, JOINT, End Site or }"
        if (word == "ROOT" and not names) or (word == "JOINT" and opened):
            if not rest:
                raise lines.wrong(f"a {word} without a name", f"{word} and its name")
            if opened:
                _complete(lines, names[here], offsets[here], channels[here])
            if len(names) == MOST_JOINTS:
                raise lines.wrong(f"more than {MOST_JOINTS:,} joints", "fewer")
            opened.append(len(names))
            names.append(rest)
            parents.append(here)
            offsets.append(None)
            channels.append(None)
            _brace(lines, f"{word} {rest}")
        elif word == "OFFSET" and opened:
            if offsets[here] is not None:
                raise lines.wrong(f"a second OFFSET for joint {names[here]!r}", "one")
            offsets[here] = _offset(lines, rest)
        elif word == "CHANNELS" and opened:
            if channels[here] is not None:
                raise lines.wrong(f"a second CHANNELS for joint {names[here]!r}", "one")
            channels[here] = _channels(lines, rest)
        elif line.upper().split()[:2] == ["END", "SITE"] and opened:
            _complete(lines, names[here], offsets[here], channels[here])
            _brace(lines, "End Site")
            word, _, rest = _words(lines.next("OFFSET of the End Site"))
            if word != "OFFSET":
                raise lines.wrong(f"got {_shown(word)} in an End Site", "OFFSET x y z")
            ends.append((here, _offset(lines, rest)))
            if lines.next("} of the End Site") != "}":
                raise lines.wrong("an End Site that does not end", "} after its OFFSET")
        elif line == "}" and opened:
            _complete(lines, names[here], offsets[here], channels[here])
            opened.pop()
        else:
            raise lines.wrong(f"got {_shown(line)}", inside if opened else "ROOT and its name")
    return Skeleton(
        tuple(names),
        tuple(parents),
        tuple(offset for offset in offsets if offset is not None),
        tuple(given for given in channels if given is not None),
        tuple(ends),
    )


def _words(line: str) -> tuple[str, str, str]:
    """The first word in capitals, and the rest of the line."""
    first, _, rest = line.partition(" ") if "\t" not in line else line.replace("\t", " ").partition(" ")
    return first.upper(), " ", rest.strip()


def _brace(lines: _Lines, after: str) -> None:
    if lines.next("{") != "{":
        raise lines.wrong(f"no brace after {_shown(after)}", "{")


def _complete(lines: _Lines, name: str, offset: Triple | None, channels: tuple[str, ...] | None) -> None:
    for what, given in (("OFFSET", offset), ("CHANNELS", channels)):
        if given is None:
            raise lines.wrong(
                f"joint {name!r} has no {what}", f"{what} before the joints that hang on it, and before }}"
            )


def _offset(lines: _Lines, rest: str) -> Triple:
    numbers = _floats(lines, rest.split())
    if len(numbers) != 3:
        raise lines.wrong(f"an OFFSET of {len(numbers)} numbers", "OFFSET x y z")
    return numbers[0], numbers[1], numbers[2]


def _channels(lines: _Lines, rest: str) -> tuple[str, ...]:
    count, *words = rest.split() or [""]
    if not (count.isascii() and count.isdigit()):
        raise lines.wrong(f"CHANNELS with {_shown(count)} for a number", "CHANNELS, how many, and their names")
    for word in words:
        if word.lower() not in _KNOWN:
            near = perhaps(word, _KNOWN.values())
            raise lines.wrong(f"unknown channel {_shown(word)}", f"one of {', '.join(_KNOWN.values())}{near}")
    if int(count[:9]) != len(words):
        raise lines.wrong(f"CHANNELS {_shown(count)[1:-1]} with {len(words)} names", "as many names as it says")
    names = tuple(_KNOWN[word.lower()] for word in words)
    if len(set(names)) < len(names):
        raise lines.wrong(f"a channel twice: {' '.join(names)}", "each at most once")
    return names


def _floats(lines: _Lines, words: list[str]) -> list[float]:
    numbers = []
    for word in words:
        try:
            number = float(word)
        except ValueError:
            raise lines.wrong(f"got {_shown(word)}", "a number") from None
        if number != number or number in (float("inf"), float("-inf")) or "_" in word:
            raise lines.wrong(f"got {_shown(word)}", "a finite number")
        numbers.append(number)
    return numbers


def _motion(lines: _Lines, skeleton: Skeleton) -> Motion:
    if (line := lines.next("MOTION")).upper() != "MOTION":
        raise lines.wrong(f"got {_shown(line)}", "MOTION after the last }")
    found = re.fullmatch(r"frames\s*:\s*(\d{1,12})", line := lines.next("Frames:"), re.IGNORECASE | re.ASCII)
    if found is None:
        raise lines.wrong(f"got {_shown(line)}", "Frames: and how many")
    count, said = int(found[1]), lines.at
    found = re.fullmatch(r"frame\s+time\s*:\s*(\S+)", line := lines.next("Frame Time:"), re.IGNORECASE)
    if found is None:
        raise lines.wrong(f"got {_shown(line)}", "Frame Time: and the seconds of a frame")
    (frame_time,) = _floats(lines, [found[1]])
    if frame_time <= 0:
        raise lines.wrong(f"a frame of {frame_time:g} seconds", "more than 0")
    if not skeleton.width:
        raise lines.wrong("no joint has channels", "at least one channel, else nothing moves")
    if not count:
        raise DataError(f"line {said}: a motion of no frames", expected="at least one")
    rows = lines.all[lines.at :]
    while rows and not rows[-1].strip():
        rows.pop()
    values = _quick(rows, skeleton.width)
    if values is None:
        values = _slow(lines, rows, skeleton.width)
    if not count <= len(values) <= count + 1:
        raise DataError(
            f"line {said} says {count} frames, and there are {len(values)}", expected="a line for each frame"
        )
    return Motion(skeleton, values[:count], frame_time)  # some exporters count the steps between frames


def _slow(lines: _Lines, rows: list[str], width: int) -> np.ndarray:
    """The same with blank lines left out. Errors: DataError at the first line that is no frame."""
    kept = []
    for row in rows:
        lines.at += 1
        if not (words := row.split()):
            continue
        numbers = _floats(lines, words)
        if len(numbers) != width:
            raise lines.wrong(f"{len(numbers)} numbers in a frame", f"{width}, one for each channel")
        kept.append(np.array(numbers))
    return np.array(kept).reshape(-1, width)


def _quick(rows: list[str], width: int) -> np.ndarray | None:
    """(F, width) where every row holds that many finite numbers; None where one does not, for whom the slow way finds
    it.
    """
    if any(len(row.split()) != width for row in rows):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.fromstring(" ".join(rows), dtype=np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    return values.reshape(-1, width) if values.size == len(rows) * width and np.isfinite(values).all() else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
