"""Each way to be wrong, beside the well-formed twin. « » stand around the place that the caret shows."""

import pickle

import pytest

from ofasys.errors import InstructionError

KNOWN = "known here: AUDIO, BOX, CATEGORY, IMAGE, TEXT"
SLOT = "a slot is written [TYPE:name,key=value]"
CONTRAST = "write [IMAGE:a|TEXT:b] or [[IMAGE:a]|[TEXT:b]]"
PROSE = r"a bracket that is prose is written \[ and \]"
ODD = f"{SLOT}; a name or value with blanks stands in quotes"
TEXT_HAS = (
    "TEXT has: adaptor, closed_set, criterion, generator, is_label, lang, mask_ratio, max_length, no_loss, preprocess, "
    "uncased, weight"
)
ONE_ARROW = r"an instruction has one arrow, source -> target; as characters it is written \->"
NO_ARROW = "an instruction is source -> target; either side may be empty, not both"
NO_SLOT = "every side that is not empty has one: write [TYPE:name] where data comes in or goes out"
UNCLOSED = "close it with ]; as a character it is written \\["
MASK = "mask_ratio: share of tokens hidden"
MATCH = "brackets match: ( ... )* or [ ... ]*"

# broken text, well-formed twin, message, hint
WRONG = [
    # modality
    ("[«IMGAE»:img] what? -> [TEXT]", "[IMAGE:img] what? -> [TEXT]", "unknown modality 'IMGAE'",
     f"did you mean IMAGE? {KNOWN}"),
    ("a [ «text»:x] -> [TEXT]", "a [ TEXT:x] -> [TEXT]", "unknown modality 'text'", f"did you mean TEXT? {KNOWN}"),
    ("[«BOUNDING_BX»] -> [TEXT]", "[BOUNDING_BOX] -> [TEXT]", "unknown modality 'BOUNDING_BX'",
     f"did you mean BOUNDING_BOX? {KNOWN}"),
    ("[«see» note] [TEXT] -> [TEXT]", r"\[see note\] [TEXT] -> [TEXT]", "unknown modality 'see'",
     rf"{KNOWN}; a bracket that is prose is written \["),
    ("[IMAGE:a|«FOO»:b] ->", "[IMAGE:a|TEXT:b] ->", "unknown modality 'FOO'",
     rf"{KNOWN}; a bracket that is prose is written \["),
    ("«[]» -> [TEXT]", "[BOX] -> [TEXT]", "an empty slot", f"{SLOT}; {KNOWN}"),
    ("-> «[ ]»*", r"-> \[ \]* [TEXT]", "an empty slot", f"{SLOT}; {KNOWN}"),
    ("[«:»x] -> [TEXT]", "[TEXT:x] -> [TEXT]", "':' is not expected in a slot", ODD),
    # name
    ("[TEXT«:»] -> [TEXT]", "[TEXT] -> [TEXT]", "a name is missing after the colon",
     "write [TEXT:name], or [TEXT] for a slot without a name"),
    ('[TEXT«:»""] -> [TEXT]', '[TEXT:" "] -> [TEXT]', "a name is missing after the colon",
     "write [TEXT:name], or [TEXT] for a slot without a name"),
    ("[TEXT:«my-name»] -> [TEXT]", '[TEXT:"my-name"] -> [TEXT]', "the name 'my-name' is not made of word characters",
     'write it in quotes: [TEXT:"my-name"]'),
    ("[TEXT:my «name»] -> [TEXT]", '[TEXT:"my name"] -> [TEXT]', "'name' is not expected in a slot", ODD),
    ("[TEXT:«\"»x] -> [TEXT]", '[TEXT:"x"] -> [TEXT]', "this quote is not closed",
     r'close it with "; a quote within is \"'),
    ("[IMAGE:x] -> [TEXT:«x»]", "[TEXT:x] -> [TEXT:x]", "the name 'x' stands for TEXT here and for IMAGE before",
     "one name is one column of data, of one modality: choose another name"),
    ("[BOX:b] -> («[BOX:b]»)*", "([BOX:b])* -> ([BOX:b])*",
     "the name 'b' stands inside a repetition here and outside one before",
     "inside, a column is a list of values: choose another name"),
    ("([BOX:b])* -> «[BOX:b]»", "[BOX:b] -> [BOX:b]",
     "the name 'b' stands outside a repetition here and inside one before",
     "inside, a column is a list of values: choose another name"),
    # attribute
    ("[TEXT:x,«mask_ration»=0.3] -> [TEXT]", "[TEXT:x,mask_ratio=0.3] -> [TEXT]",
     "unknown attribute 'mask_ration' of TEXT", f"did you mean mask_ratio? {TEXT_HAS}"),
    ("[TEXT:x, «zzz»] -> [TEXT]", "[TEXT:x, uncased] -> [TEXT]", "unknown attribute 'zzz' of TEXT", TEXT_HAS),
    ("[TEXT:x,uncased, «uncased»] -> [TEXT]", "[TEXT:x,uncased] -> [TEXT]", "the attribute 'uncased' is given twice",
     "leave one of them out"),
    ("[TEXT:x«,»] -> [TEXT]", "[TEXT:x] -> [TEXT]", "an attribute is missing after the comma", SLOT),
    ("[TEXT:x«,» ,uncased] -> [TEXT]", "[TEXT:x,uncased] -> [TEXT]", "an attribute is missing after the comma", SLOT),
    ("[TEXT:x,«=»3] -> [TEXT]", "[TEXT:x,max_length=3] -> [TEXT]", "'=' is not expected in a slot", ODD),
    # value
    ("[TEXT:x,mask_ratio=«1.5»] -> [TEXT]", "[TEXT:x,mask_ratio=0.15] -> [TEXT]",
     "mask_ratio is a number from 0 to 1, not '1.5'", MASK),
    ("[TEXT:x,mask_ratio=«much»] -> [TEXT]", "[TEXT:x,mask_ratio=1e-1] -> [TEXT]",
     "mask_ratio is a number from 0 to 1, not 'much'", MASK),
    ("[TEXT:x,mask_ratio= «\"nan\"»] -> [TEXT]", '[TEXT:x,mask_ratio= "0.5"] -> [TEXT]',
     "mask_ratio is a number from 0 to 1, not 'nan'", MASK),
    ("[TEXT:x,«mask_ratio»] -> [TEXT]", "[TEXT:x,mask_ratio=0.3] -> [TEXT]", "mask_ratio needs a value: mask_ratio=0.3",
     MASK),
    ("[TEXT:x,mask_ratio«=»] -> [TEXT]", "[TEXT:x,mask_ratio=0] -> [TEXT]", "a value is missing after the =",
     "for instance mask_ratio=0.3"),
    ("[TEXT:x,max_length=«2.5»] -> [TEXT]", "[TEXT:x,max_length=25] -> [TEXT]",
     "max_length is a whole number of at least 1, not '2.5'", "max_length: the most positions the slot may take"),
    ("[TEXT:x,uncased=«maybe»] -> [TEXT]", "[TEXT:x,uncased=true] -> [TEXT]", "uncased is true or false, not 'maybe'",
     "uncased: letters become lower case"),
    ("[IMAGE,shape=«sqare»] -> [TEXT]", "[IMAGE,shape=square] -> [TEXT]", "shape is one of square, aspect, not 'sqare'",
     "did you mean square? shape: what becomes of the sides"),
    ("[TEXT:x,lang=«a:b»] -> [TEXT]", '[TEXT:x,lang="a:b"] -> [TEXT]',
     "the value 'a:b' holds other than word characters and . + - /", 'write it in quotes: lang="a:b"'),
    ("[TEXT:x,lang=a «b»] -> [TEXT]", '[TEXT:x,lang="a b"] -> [TEXT]', "'b' is not expected in a slot", ODD),
    # side
    ("[TEXT:x] -> [TEXT:y,«mask_ratio»=0.1]", "[TEXT:x,mask_ratio=0.1] -> [TEXT:y]",
     "mask_ratio is for slots of the source, and this slot stands in the target",
     "move it to a slot of the source, or leave it out"),
    ("[TEXT:x,«closed_set»] -> [TEXT:y]", "[TEXT:x] -> [TEXT:y,closed_set]",
     "closed_set is for slots of the target, and this slot stands in the source",
     "move it to a slot of the target, or leave it out"),
    ("-> ([BOX] [TEXT,«mask_ratio»=0.1])*", "([BOX] [TEXT,mask_ratio=0.1])* ->",
     "mask_ratio is for slots of the source, and this slot stands in the target",
     "move it to a slot of the source, or leave it out"),
    ("[IMAGE:a|TEXT:b,«no_loss»] ->", "-> [IMAGE:a|TEXT:b,no_loss]",
     "no_loss is for slots of the target, and this slot stands in the source",
     "move it to a slot of the target, or leave it out"),
    # brackets
    ("«[»TEXT:x is what? -> [TEXT]", "[TEXT:x] is what? -> [TEXT]", "this bracket is not closed", UNCLOSED),
    ("[TEXT:x] -> a «[»TEXT:y", "[TEXT:x] -> a [TEXT:y]", "this bracket is not closed", UNCLOSED),
    ("[TEXT:x] -> «[»", "[TEXT:x] -> [TEXT]", "this bracket is not closed", UNCLOSED),
    ("-> «[»[BOX] [TEXT]", "-> [[BOX] [TEXT]]*", "this bracket is not closed", UNCLOSED),
    ("«[»TEXT:x,lang=a -> b] [TEXT]", '[TEXT:x,lang="a -> b"] -> [TEXT]', "this bracket is not closed", UNCLOSED),
    ("[TEXT:x] a«]» -> [TEXT]", r"[TEXT:x] a\] -> [TEXT]", "this bracket closes nothing",
     r"as a character it is written \]"),
    ("[TEXT:x] a«)*» -> [TEXT]", r"[TEXT:x] a\)* -> [TEXT]", "this )* closes no repetition",
     r"as characters they are written \)*"),
    ("-> «[[BOX] [TEXT]]»", "-> [[BOX] [TEXT]]*", "a bracket that is neither slot nor contrast nor repetition",
     f"did you mean [[BOX] [TEXT]]* ? {PROSE}"),
    ("-> «[[BOX] [TEXT]]» *", "-> [[BOX] [TEXT]]* *", "a bracket that is neither slot nor contrast nor repetition",
     f"did you mean [[BOX] [TEXT]]* ? {PROSE}"),
    ("«[see [TEXT]]» -> [TEXT]", r"\[see [TEXT]\] -> [TEXT]",
     "a bracket that is neither slot nor contrast nor repetition", f"did you mean [see [TEXT]]* ? {PROSE}"),
    # repetition
    ("[TEXT] -> «(words)*»", "[TEXT] -> (words [TEXT])*", "a repetition without a slot",
     r"put a slot inside; as characters its end is written \)*"),
    ("[TEXT] -> «[(words)]*»", "[TEXT] -> [(words) [TEXT]]*", "a repetition without a slot",
     r"put a slot inside; as characters its end is written \]*"),
    ("-> ([BOX] [TEXT]«]*»", "-> ([BOX] [TEXT])*", "a repetition opened with ( and closed with ]*", MATCH),
    ("-> [[BOX] [TEXT]«)*»", "-> [[BOX] [TEXT]]*", "a repetition opened with [ and closed with )*", MATCH),
    ("-> (a «([BOX])*» [TEXT])*", "-> ([BOX])* ([TEXT])*",
     "a repetition inside a repetition is not part of the language", "write one repetition, or two side by side"),
    ("-> [TEXT:x]«*»", "-> ([TEXT:x])*", "a * right after a slot",
     "to repeat it write ( [TEXT:x] )*; for the character leave a blank before it"),
    # contrast
    ("«[IMAGE:a|]» ->", "[IMAGE:a] ->", "a contrast is two slots around one |", CONTRAST),
    ("«[ | IMAGE:a]» ->", "[IMAGE:b | IMAGE:a] ->", "a contrast is two slots around one |", CONTRAST),
    ("«[|]» ->", r"\[|\] [TEXT] ->", "a contrast is two slots around one |", CONTRAST),
    ("«[IMAGE:a|TEXT:b|BOX:c]» ->", "[IMAGE:a|TEXT:b] [BOX:c] ->", "a contrast is two slots around one |", CONTRAST),
    ("«[[IMAGE:a]|[TEXT:b]|[BOX:c]]» ->", "[[IMAGE:a]|[TEXT:b]] ->", "a contrast is two slots around one |", CONTRAST),
    ("«[[IMAGE:a]|]» ->", "[[IMAGE:a]|[TEXT:b]] ->", "a contrast is two slots around one |", CONTRAST),
    ("«[[IMAGE:a] [TEXT:b]|]» ->", "[[IMAGE:a]|[TEXT:b]] ->", "a contrast is two slots around one |", CONTRAST),
    ("«[IMAGE:a|[»TEXT:b]] ->", "[IMAGE:a|TEXT:b] ->", "a contrast is two slots around one |", CONTRAST),
    ("[[IMAGE:a]|«TEXT:b»] ->", "[[IMAGE:a]|[TEXT:b]] ->", "a contrast holds slots and nothing else",
     rf"{CONTRAST}; the character | is written \|"),
    ("-> «[[BOX:a]|[TEXT:b]]*»", r"-> [[BOX:a] \| [TEXT:b]]*", "a contrast is not repeated by a * of its own",
     "to repeat it write ( [A|B] )*"),
    # arrow and sides
    ("[TEXT:a] [TEXT:b]«»", "[TEXT:a] -> [TEXT:b]", "there is no arrow", NO_ARROW),
    ("hello  «»", "hello [TEXT] ->", "there is no arrow", NO_ARROW),
    ("[TEXT:a] «→» [TEXT:b]", "[TEXT:a] -> [TEXT:b]", "'→' is not the arrow of an instruction", "write ->"),
    ("[TEXT:a] «=>» [TEXT:b]", "[TEXT:a] -> [TEXT:b]", "'=>' is not the arrow of an instruction", "write ->"),
    ("[TEXT:a] «- >» [TEXT:b]", "[TEXT:a] -> [TEXT:b]", "'- >' is not the arrow of an instruction", "write ->"),
    ("[TEXT:a] -> b «->» [TEXT:b]", r"[TEXT:a] -> b \-> [TEXT:b]", "a second arrow", ONE_ARROW),
    (" «->» ", "-> [TEXT]", "both sides are empty", "write at least one slot: -> [TYPE:name]"),
    ("«hello there» -> [TEXT]", "hello there [TEXT] -> [TEXT]", "the source has no slot", NO_SLOT),
    ("[TEXT] -> «world»", "[TEXT] -> world [TEXT]", "the target has no slot", NO_SLOT),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "twin", "message", "hint"), WRONG, ids=[case[0] for case in WRONG])
def test_error_and_twin(read, marked, twin, message, hint):
    before, place, after = marked.replace("»", "«").split("«")
    text = (before + place + after).rstrip() if not place else before + place + after
    start = len(before.rstrip()) if not place else len(before)
    with pytest.raises(InstructionError) as caught:
        read(text)
    carets = " " * start + "^" * max(1, len(place))
    assert str(caught.value) == f"{message}\n  {text}\n  {carets}\n{hint}"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert read(twin).slots


def test_an_empty_text_has_no_arrow(read):
    with pytest.raises(InstructionError, match="there is no arrow"):
        read("")


def test_a_long_wrong_value_is_shown_short(read):
    with pytest.raises(InstructionError, match=r"not '9{37}\.\.\.'"):
        read(f"[TEXT:x,max_length={'9' * 5000}] -> [TEXT]")
