"""Text -> tree, by recursive descent in one pass. Whatever is wrong is an InstructionError with its place.

Takes for granted: a Lexicon, which knows the modalities and their attributes.
Gives: the two sentences of an instruction, every attribute typed and checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from ofasys.errors import InstructionError, nearest

from .lexeme import BLANK, QUOTED, WORD, bare, quote, run, skip, unquote
from .lexicon import Lexicon, Word
from .option import Option, Side, Value
from .pattern import MOST_PARTS, MOST_WAYS, Pattern
from .tree import Alternatives, Contrast, Repetition, Segment, Sentence, Slot, Span, Text, slots_of

_SLOT_HEAD = re.compile(r"\s*\w+\s*[:,|\]]")
_LANDMARK = re.compile(r"\\.|[\[\]]|->", re.DOTALL)
_LOOKALIKE_ARROW = re.compile(r"[→⟶⇒➔➜⟹]|=>|[–—]>|-\s+>")
_ODD_NAME = re.compile(r'[^\s,\[\]|":=]+')
_ODD_VALUE = re.compile(r'[^\s,\[\]|"]+')

_SLOT_FORM = "a slot is written [TYPE:name,key=value]"
_CONTRAST_FORM = "write [IMAGE:a|TEXT:b] or [[IMAGE:a]|[TEXT:b]]"


def parse(text: str, lexicon: Lexicon) -> tuple[Sentence, Sentence]:
    """The source and the target sentence of `text`. InstructionError where it is not an instruction."""
    return _Parser(text, lexicon).instruction()


@dataclass(frozen=True, slots=True)
class _Prose:
    """A piece of prose, escapes read; `text[start:end]` is where it was."""

    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Bar:
    """The `|` of a contrast whose slots keep their brackets, or what stands between the parts of a pattern."""

    start: int


@dataclass(frozen=True, slots=True)
class _Open:
    """A bracket that may yet close around segments: where it stands, how many items came before it, and the pattern
    it begins.
    """

    bracket: str
    start: int
    items: int
    pattern: Pattern | None = None


_Item = _Prose | _Bar | Slot | Contrast | Repetition | Alternatives


class _Parser:
    def __init__(self, text: str, lexicon: Lexicon) -> None:
        self.text, self.lexicon, self.grammar = text, lexicon, lexicon.grammar
        self.pos = 0
        self.side: Side = "source"
        self.items: list[_Item] = []
        self.opened: list[_Open] = []
        self.sided: list[tuple[Side, Option, Span]] = []
        self.tag_of: dict[str, str] = {}

    # Instruction and sentences

    def instruction(self) -> tuple[Sentence, Sentence]:
        source = self.sentence()
        if not self.text.startswith("->", self.pos):
            self.fail_without_arrow()
        arrow = (self.pos, self.pos + 2)
        self.side, self.pos = "target", self.pos + 2
        target = self.sentence()
        if self.pos < len(self.text):
            hint = "an instruction has one arrow, source -> target; as characters it is written \\->"
            self.fail("a second arrow", (self.pos, self.pos + 2), hint)
        if not source and not target:
            self.fail("both sides are empty", arrow, "write at least one slot: -> [TYPE:name]")
        for side, segments in (("source", source), ("target", target)):
            if segments and all(isinstance(segment, Text) for segment in segments):
                hint = "every side that is not empty has one: write [TYPE:name] where data comes in or goes out"
                self.fail(f"the {side} has no slot", _span(segments), hint)
        for stands, option, span in self.sided:
            if option.side != stands:
                message = f"{option.name} is for slots of the {option.side}, and this slot stands in the {stands}"
                self.fail(message, span, f"move it to a slot of the {option.side}, or leave it out")
        if any(isinstance(segment, Repetition) for segment in source + target):
            self.check_names(source + target)
        if any(isinstance(segment, Alternatives) for segment in source + target):
            self.check_alone(source + target)
        return Sentence(source, _span(source)), Sentence(target, _span(target))

    def sentence(self) -> tuple[Segment, ...]:
        """The segments from here to the next arrow, or to the end of the text."""
        text, grammar = self.text, self.grammar
        self.opened = []
        while self.pos < len(text):
            end = skip(grammar.prose, text, self.pos)
            if end > self.pos:
                self.prose(end)
                continue
            mark = text[self.pos]
            if mark == "-":
                break
            if mark == "[":
                self.open_bracket()
            elif mark == "]":
                self.close_bracket()
            elif mark == "(":
                self.opened.append(_Open("(", self.pos, len(self.items)))
                self.prose(self.pos + 1)
            elif mark == ")":
                self.close_parenthesis()
            elif mark == "|":
                self.bar()
            elif mark in grammar.opens:
                self.opened.append(_Open(mark, self.pos, len(self.items), grammar.opens[mark]))
                self.pos += 1
            elif mark in grammar.closes:
                self.close_pattern(grammar.closes[mark])
            elif mark in grammar.between:
                self.bar()
            elif escape := grammar.escape.match(text, self.pos):
                self.prose(escape.end(), escape[1])
            else:
                self.prose(self.pos + 1)
        for opened in self.opened:
            if opened.pattern is not None:
                self.fail_open(opened, opened.pattern)
            if opened.bracket == "[":
                self.fail_unclosed(opened.start)
        return self.segments(0)

    def prose(self, end: int, value: str | None = None) -> None:
        self.items.append(_Prose(self.text[self.pos : end] if value is None else value, self.pos, end))
        self.pos = end

    def segments(self, first: int) -> tuple[Segment, ...]:
        """The items from `first` on, taken away and joined: pieces of prose become one Text, or nothing if blank."""
        segments: list[Segment] = []
        pieces: list[_Prose] = []

        def join() -> None:
            value = "".join(piece.value for piece in pieces)
            if value and not value.isspace():
                start, end = pieces[0].start, pieces[-1].end
                raw = self.text[start:end]
                segments.append(Text(value, (start + len(raw) - len(raw.lstrip()), end - len(raw) + len(raw.rstrip()))))
            pieces.clear()

        for item in self.items[first:]:
            if isinstance(item, _Prose):
                pieces.append(item)
            elif not isinstance(item, _Bar):
                join()
                segments.append(item)
        join()
        del self.items[first:]
        return tuple(segments)

    # Brackets around segments

    def open_bracket(self) -> None:
        """At `[`: a slot, a contrast, or a bracket around segments."""
        inside = self.blank(self.pos + 1)
        if self.text[inside : inside + 1] in ("[", "("):
            around_segments = True
        else:
            around_segments = not _SLOT_HEAD.match(self.text, inside) and self.landmark(inside) == "["
        if around_segments:
            self.opened.append(_Open("[", self.pos, len(self.items)))
            self.pos += 1
        else:
            slot = self.bracketed()
            after = self.grammar.after.get(self.peek())
            self.items.append(slot if after is None else self.ended(slot, after))

    def close_bracket(self) -> None:
        """At `]` outside a slot: it closes a bracket around segments, as repetition or as contrast."""
        start = self.pos
        starred = self.text.startswith("]*", start)
        outer = self.around()
        if outer is None or outer.pattern is not None:
            if starred and self.opened and self.opened[-1].bracket == "(":
                self.fail_mismatched("(", "]*")
            self.fail("this bracket closes nothing", (start, start + 1), "as a character it is written \\]")
        while self.opened[-1].bracket == "(":
            self.opened.pop()
        opened = self.opened.pop()
        self.pos += 2 if starred else 1
        span = (opened.start, self.pos)
        if any(isinstance(item, _Bar) for item in self.items[opened.items :]):
            if starred:
                self.fail("a contrast is not repeated by a * of its own", span, "to repeat it write ( [A|B] )*")
            self.items.append(self.bracketed_contrast(opened.items, span))
        elif starred:
            self.repetition(opened.items, span)
        else:
            whole = self.text[slice(*span)]
            hint = f"did you mean {whole}* ? a bracket that is prose is written \\[ and \\]"
            self.fail("a bracket that is neither slot nor contrast nor repetition", span, hint)

    def close_parenthesis(self) -> None:
        """At `)`: prose, or with a star the end of a repetition."""
        start = self.pos
        innermost = self.opened[-1].bracket if self.opened else None
        if not self.text.startswith(")*", start):
            if innermost == "(":
                self.opened.pop()
            self.prose(start + 1)
        elif innermost == "(":
            opened = self.opened.pop()
            self.pos += 2
            del self.items[opened.items]  # the prose "(" that turned out to be a bracket
            self.repetition(opened.items, (opened.start, self.pos))
        elif innermost == "[":
            self.fail_mismatched("[", ")*")
        elif self.opened and self.opened[-1].pattern is not None:
            self.fail_open(self.opened[-1], self.opened[-1].pattern)
        else:
            self.fail("this )* closes no repetition", (start, start + 2), "as characters they are written \\)*")

    def repetition(self, first: int, span: Span) -> None:
        outer = self.around()
        if outer is not None and outer.pattern is not None:
            message = f"a repetition inside a {outer.pattern.name} is not part of the language"
            self.fail(message, span, "its parts hold slots and plain text")
        segments = self.segments(first)
        plain: list[Text | Slot | Contrast] = []
        for segment in segments:
            if isinstance(segment, Repetition):
                hint = "write one repetition, or two side by side"
                self.fail("a repetition inside a repetition is not part of the language", segment.span, hint)
            if isinstance(segment, Alternatives):
                hint = "write it before or after ( ... )*"
                self.fail(f"a {segment.pattern} inside a repetition is not part of the language", segment.span, hint)
            plain.append(segment)
        if all(isinstance(segment, Text) for segment in plain):
            hint = f"put a slot inside; as characters its end is written \\{self.text[span[1] - 2]}*"
            self.fail("a repetition without a slot", span, hint)
        self.items.append(Repetition(tuple(plain), span))
        self.check_nothing_after("repetition")

    def bar(self) -> None:
        """At what may stand between the parts of a contrast or of a pattern; else it is prose."""
        outer = self.around()
        within = "|" if outer is None or outer.pattern is None else outer.pattern.between
        direct = outer is not None and (outer is self.opened[-1] or outer.pattern is not None)
        if direct and self.peek() == within:
            self.items.append(_Bar(self.pos))
            self.pos += 1
        else:
            self.prose(self.pos + 1)

    def around(self) -> _Open | None:
        """The innermost bracket that is open; a parenthesis may yet turn out to be prose."""
        return next((opened for opened in reversed(self.opened) if opened.bracket != "("), None)

    # Patterns

    def close_pattern(self, pattern: Pattern) -> None:
        """At the character that ends a pattern."""
        outer = self.around()
        if outer is not None and outer.pattern is None:
            self.fail_unclosed(outer.start)
        mark = (self.pos, self.pos + 1)
        if outer is None or outer.pattern is not pattern:
            if outer is not None and outer.pattern is not None:
                self.fail_open(outer, outer.pattern)
            self.fail(f"this {pattern.closes} closes nothing", mark, self.as_character(pattern.closes))
        while self.opened[-1] is not outer:
            self.opened.pop()
        self.opened.pop()
        self.pos += 1
        span = (outer.start, self.pos)
        parts: list[list[_Item]] = [[]]
        for item in self.items[outer.items :]:
            if isinstance(item, _Bar):
                parts.append([])
            else:
                parts[-1].append(item)
        del self.items[outer.items :]
        found = []
        for items in parts:
            first = len(self.items)
            self.items += items
            found.append(self.segments(first))
        self.items.append(self.alternatives(pattern, found, span))
        self.check_nothing_after(pattern.name, "*")

    def ended(self, slot: Slot | Contrast, pattern: Pattern) -> Alternatives:
        """A slot with the character of a pattern right after it."""
        self.pos += 1
        made = self.alternatives(pattern, [(slot,)], (slot.span[0], self.pos))
        self.check_nothing_after(pattern.name, "*")
        return made

    def check_nothing_after(self, what: str, also: str = "") -> None:
        """Right after a pattern or a repetition nothing stands that is for slots, nor one of `also`."""
        mark, place = self.peek(), (self.pos, self.pos + 1)
        if pattern := self.grammar.after.get(mark):
            hint = f"a {pattern.name} is one slot, {pattern.shown}; for the character leave a blank before it"
            self.fail(f"a {mark} right after a {what}", place, hint)
        if mark and mark in also:
            hint = "it is not repeated; for the character leave a blank before it"
            self.fail(f"a {mark} right after a {what}", place, hint)

    def alternatives(self, pattern: Pattern, parts: Sequence[Sequence[Segment]], span: Span) -> Alternatives:
        """The parts of a pattern, checked. PluginError where its record cannot say how they may stand."""
        shown = f"a {pattern.name} is written {pattern.shown}"
        if not pattern.least <= len(parts) <= MOST_PARTS:
            most = f", at most {MOST_PARTS}" if len(parts) > MOST_PARTS else ""
            message = f"a {pattern.name} has at least {pattern.least} parts{most}, and here is {len(parts)}"
            self.fail(message, span, shown + (f", {pattern.between} between its parts" if pattern.between else ""))
        plain: list[tuple[Text | Slot, ...]] = []
        for part in parts:
            for segment in part:
                if not isinstance(segment, Text | Slot):
                    what = segment.pattern if isinstance(segment, Alternatives) else type(segment).__name__.lower()
                    message = f"a {what} inside a {pattern.name} is not part of the language"
                    self.fail(message, segment.span, "its parts hold slots and plain text")
            if not any(isinstance(segment, Slot) for segment in part):
                place = _span(tuple(part)) if part else span
                self.fail(f"a part of a {pattern.name} without a slot", place, f"put a slot into each part; {shown}")
            plain.append(tuple(segment for segment in part if isinstance(segment, Text | Slot)))
        written, ways = (pattern.opens, pattern.between, pattern.closes), pattern.ways_of(len(plain))
        if len(ways) > MOST_WAYS:
            message = f"the {len(plain)} parts of this {pattern.name} may stand in {len(ways):,} ways"
            self.fail(message, span, f"at most {MOST_WAYS}: write fewer parts, or two of them")
        return Alternatives(pattern.name, tuple(plain), ways, written, pattern.about, span)

    def as_character(self, mark: str) -> str:
        return f"as a character it is written \\{mark}"

    def fail_open(self, opened: _Open, pattern: Pattern) -> NoReturn:
        hint = f"close it with {pattern.closes}; {self.as_character(opened.bracket)}"
        self.fail(
            f"this {opened.bracket} begins a {pattern.name} that is not closed", (opened.start, opened.start + 1), hint
        )

    def bracketed_contrast(self, first: int, span: Span) -> Contrast:
        """`[[A]|[B]]`, its items taken away."""
        items = [item for item in self.items[first:] if not (isinstance(item, _Prose) and item.value.isspace())]
        del self.items[first:]
        for item in items:
            if not isinstance(item, Slot | _Bar):
                place = (item.start, item.end) if isinstance(item, _Prose) else item.span
                hint = f"{_CONTRAST_FORM}; the character | is written \\|"
                self.fail("a contrast holds slots and nothing else", place, hint)
        match items:
            case [Slot() as left, _Bar(), Slot() as right]:
                return Contrast(left, right, span)
        self.fail_contrast(span)

    # Slots

    def bracketed(self) -> Slot | Contrast:
        """At the `[` of `[TYPE:name,key=value]` or `[TYPE:a|TYPE:b]`."""
        start = self.pos
        sides: list[Slot | None] = []
        while not sides or self.peek() == "|":
            self.pos = self.blank(self.pos + 1)
            if self.peek() == "[":
                self.fail_contrast((start, self.pos + 1))
            absent = self.peek() == "|" or (sides and self.peek() == "]")
            sides.append(None if absent else self.slot(start))
        self.pos += 1
        span = (start, self.pos)
        if self.peek() == "*":
            hint = f"to repeat it write ( {self.text[start : self.pos]} )*; for the character leave a blank before it"
            self.fail("a * right after a slot", (self.pos, self.pos + 1), hint)
        match sides:
            case [Slot() as slot]:
                return Slot(slot.modality, slot.name, slot.attributes, span)
            case [Slot() as left, Slot() as right]:
                return Contrast(left, right, span)
        self.fail_contrast(span)

    def slot(self, bracket: int) -> Slot:
        """`TYPE:name,key=value`, up to the `|` or `]` that ends it; `bracket` is where its `[` stands."""
        start = self.pos
        word = self.modality(bracket)
        name = None
        end = self.pos
        self.pos = self.blank(end)
        if self.peek() == ":":
            name = self.name(word, bracket)
            end = self.pos
            self.pos = self.blank(end)
        attributes: dict[str, Value] = {}
        while self.peek() == ",":
            key, value = self.attribute(word, attributes, bracket)
            attributes[key] = value
            end = self.pos
            self.pos = self.blank(end)
        if self.peek() not in ("]", "|"):
            self.fail_unexpected(bracket)
        return Slot(word.tag, name, tuple(attributes.items()), (start, end))

    def modality(self, bracket: int) -> Word:
        start = self.pos
        end = run(WORD, self.text, start)
        if end == start:
            if self.peek() == "]":
                self.fail("an empty slot", (bracket, start + 1), f"{_SLOT_FORM}; {self.known()}")
            self.fail_unexpected(bracket)
        tag = self.text[start:end]
        word = self.lexicon.word(tag)
        if word is None:
            near = nearest(tag, self.lexicon.spellings)
            hint = near + self.known() + ("" if near else "; a bracket that is prose is written \\[")
            self.fail(f"unknown modality {tag!r}", (start, end), hint)
        self.pos = end
        return word

    def name(self, word: Word, bracket: int) -> str:
        """At the `:` before a name."""
        colon = self.pos
        start = self.pos = self.blank(colon + 1)
        if self.peek() == '"':
            name = self.quoted()
        else:
            self.pos = run(WORD, self.text, start)
            name = self.text[start : self.pos]
            if (odd := _ODD_NAME.match(self.text, self.pos)) and self.is_closed(self.pos):
                whole = self.text[start : odd.end()]
                hint = f"write it in quotes: [{word.tag}:{_quoted(whole)}]"
                if after := self.grammar.after.get(whole[-1]):
                    hint = f"for a {after.name} write [{word.tag}:{whole[:-1]}]{whole[-1]}; else {hint}"
                self.fail(f"the name {whole!r} is not made of word characters", (start, odd.end()), hint)
        if not name:
            if self.peek() not in ("]", ",", "|", ""):
                self.fail_unexpected(bracket)
            if not self.is_closed(start):
                self.fail_unclosed(bracket)
            hint = f"write [{word.tag}:name], or [{word.tag}] for a slot without a name"
            self.fail("a name is missing after the colon", (colon, colon + 1), hint)
        span = (start, self.pos)
        before = self.tag_of.setdefault(name, word.tag)
        if before != word.tag:
            hint = "one name is one column of data, of one modality: choose another name"
            self.fail(f"the name {name!r} stands for {word.tag} here and for {before} before", span, hint)
        return name

    def attribute(self, word: Word, before: dict[str, Value], bracket: int) -> tuple[str, Value]:
        """At the `,` before `key` or `key=value`."""
        comma = self.pos
        start = self.pos = self.blank(comma + 1)
        end = self.pos = run(WORD, self.text, start)
        key, key_span = self.text[start:end], (start, end)
        if not key:
            if self.peek() not in ("]", ",", "|"):
                self.fail_unexpected(bracket)
            self.fail("an attribute is missing after the comma", (comma, comma + 1), _SLOT_FORM)
        option = word.options.get(key)
        if option is None:
            hint = f"{nearest(key, word.options)}{word.tag} has: {', '.join(word.options)}"
            self.fail(f"unknown attribute {key!r} of {word.tag}", key_span, hint)
        if key in before:
            self.fail(f"the attribute {key!r} is given twice", key_span, "leave one of them out")
        if option.side is not None:
            self.sided.append((self.side, option, key_span))
        written, span = None, key_span
        equals = self.blank(end)
        if self.text.startswith("=", equals):
            written, span = self.value(option, equals, bracket)
        try:
            return key, option.read(written)
        except ValueError as error:
            message = str(error)
        self.fail(message, span, option.hint(written))

    def value(self, option: Option, equals: int, bracket: int) -> tuple[str, Span]:
        """What stands after the `=`, as written."""
        start = self.pos = self.blank(equals + 1)
        if self.peek() == '"':
            value = self.quoted()
            return value, (start, self.pos)
        self.pos = run(bare(option.name), self.text, start)
        value = self.text[start : self.pos]
        if (odd := _ODD_VALUE.match(self.text, self.pos)) and self.is_closed(self.pos):
            whole = self.text[start : odd.end()]
            hint = f"write it in quotes: {option.name}={_quoted(whole)}"
            self.fail(f"the value {whole!r} holds other than word characters and . + - /", (start, odd.end()), hint)
        if not value:
            if self.peek() not in ("]", ",", "|"):
                self.fail_unexpected(bracket)
            self.fail("a value is missing after the =", (equals, equals + 1), f"for instance {option.example}")
        return value, (start, self.pos)

    def quoted(self) -> str:
        match = QUOTED.match(self.text, self.pos)
        if match is None:
            self.fail("this quote is not closed", (self.pos, self.pos + 1), 'close it with "; a quote within is \\"')
        self.pos = match.end()
        return unquote(match[1])

    # Looking ahead

    def peek(self) -> str:
        """The character here, empty at the end of the text."""
        return self.text[self.pos : self.pos + 1]

    def blank(self, pos: int) -> int:
        return skip(BLANK, self.text, pos) if self.text[pos : pos + 1].isspace() else pos

    def landmark(self, pos: int) -> str:
        """The next bracket or arrow from `pos` on, or nothing."""
        return next((m[0] for m in _LANDMARK.finditer(self.text, pos) if m[0][0] != "\\"), "")

    def is_closed(self, pos: int) -> bool:
        return self.landmark(pos) == "]"

    def known(self) -> str:
        return f"known here: {', '.join(self.lexicon.tags)}"

    # What is checked when all is read

    def check_names(self, segments: tuple[Segment, ...]) -> None:
        """A column is a value or a list: a name stands inside repetitions only, or outside only."""
        repeated: dict[str, bool] = {}
        for segment in segments:
            inside = isinstance(segment, Repetition)
            for slot in slots_of((segment,)):
                if slot.name is not None and repeated.setdefault(slot.name, inside) != inside:
                    here, there = ("inside", "outside") if inside else ("outside", "inside")
                    message = f"the name {slot.name!r} stands {here} a repetition here and {there} one before"
                    self.fail(message, slot.span, "inside, a column is a list of values: choose another name")

    def check_alone(self, segments: tuple[Segment, ...]) -> None:
        """What a row may lack is one thing: a name inside a pattern stands nowhere else."""
        names = Counter(slot.name for slot in slots_of(segments) if slot.name is not None)
        for segment in segments:
            for slot in slots_of((segment,)) if isinstance(segment, Alternatives) else ():
                if slot.name is not None and names[slot.name] > 1:
                    message = f"the name {slot.name!r} stands inside a pattern and once more"
                    self.fail(message, slot.span, "a row may lack what stands in a pattern: choose another name")

    # Failing

    def fail(self, message: str, span: Span, hint: str) -> NoReturn:
        raise InstructionError(message, self.text, span[0], span[1], hint)

    def fail_unclosed(self, bracket: int) -> NoReturn:
        hint = "close it with ]; as a character it is written \\["
        self.fail("this bracket is not closed", (bracket, bracket + 1), hint)

    def fail_contrast(self, span: Span) -> NoReturn:
        self.fail("a contrast is two slots around one |", span, _CONTRAST_FORM)

    def fail_mismatched(self, opened: str, closed: str) -> NoReturn:
        hint = "brackets match: ( ... )* or [ ... ]*"
        self.fail(f"a repetition opened with {opened} and closed with {closed}", (self.pos, self.pos + 2), hint)

    def fail_unexpected(self, bracket: int) -> NoReturn:
        if not self.is_closed(self.pos):
            self.fail_unclosed(bracket)
        end = max(run(WORD, self.text, self.pos), self.pos + 1)
        hint = f"{_SLOT_FORM}; a name or value with blanks stands in quotes"
        self.fail(f"{self.text[self.pos : end]!r} is not expected in a slot", (self.pos, end), hint)

    def fail_without_arrow(self) -> NoReturn:
        lookalike = _LOOKALIKE_ARROW.search(self.text)
        if lookalike:
            self.fail(f"{lookalike[0]!r} is not the arrow of an instruction", lookalike.span(), "write ->")
        end = len(self.text.rstrip())
        hint = "an instruction is source -> target; either side may be empty, not both"
        self.fail("there is no arrow", (end, end + 1), hint)


def _quoted(whole: str) -> str:
    """In the quotes of the language, in place of single ones."""
    single = len(whole) > 2 and whole[0] == whole[-1] == "'"
    return quote(whole[1:-1] if single else whole)


def _span(segments: tuple[Segment, ...]) -> Span:
    return (segments[0].span[0], segments[-1].span[1]) if segments else (0, 0)
