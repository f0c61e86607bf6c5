"""A tiny model that has grown for one instruction of each kind, and made-up rows. `import tiny`."""

import json
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import torch
from tokenizers import Tokenizer

from ofasys import flow
from ofasys.generalist import GeneralistModel
from ofasys.generator.hypothesis import Hypothesis
from ofasys.modality.symbols import train_tokenizer
from ofasys.model.sizes import ModelConfig
from ofasys.planner import plan
from ofasys.program.answer import Answer

CONFIG = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=2, decoder_layers=2, max_positions=128, max_grid=16)
MODEL = {"config": CONFIG}  # what each is made of
SETTINGS = {"IMAGE.size": 32}
LABELS = {"label": ("yes", "no", "not sure"), "group": ("food", "animals & nature", "flags")}
WORDS = ("a red cat and a blue dog on the green hill see what is big or small yes no not sure food flags").split()  # noqa: SIM905


def picture(width=40, height=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


INSTRUCTIONS = {
    "caption": "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
    "entail": "can text1 [TEXT:sent1] imply text2 [TEXT:sent2]? -> [TEXT:label,closed_set]",
    "prompted": "-> can text1 [TEXT:sent1,no_loss] imply text2 [TEXT:sent2,no_loss]? [TEXT:label,closed_set]",
    "detect": "[IMAGE:img] detect the objects in the image. -> ([BOX:box] [TEXT:name])*",
    "name_first": "[IMAGE:img] find -> ([TEXT:name] at [BOX:box])*",
    "bare": "[IMAGE:img] detect the objects in the image. -> [[BOUNDING_BOX] [TEXT]]*",
    "ground": '[IMAGE:img] which region does the text " [TEXT:phrase] " describe? -> [BOX:box]',
    "region": "[IMAGE:img] what does the region describe? region: [BOX:box] -> [TEXT:cap]",
    "infill": 'what is the complete text of " [TEXT:sentence,mask_ratio=0.3] "? -> [TEXT:sentence]',
    "language": "-> [TEXT:t]",
    "two": "[TEXT:question] -> [TEXT:first] and [TEXT:second] in [CATEGORY:group]",
    "head": "[TEXT:question] -> [CATEGORY:group,adaptor=head]",
    "heads": "[TEXT:question] -> [CATEGORY:group,adaptor=head] [CATEGORY:label,adaptor=head]",
    "many": "([TEXT:hint])* say -> ([CATEGORY:group])*",
}

ROWS = {
    "caption": [
        {"img": picture(), "cap": "a red cat"},
        {"img": picture(9, 31, 1), "cap": "a blue dog on the green hill"},
    ],
    "entail": [
        {"sent1": "a cat", "sent2": "see the dog", "label": "not sure"},
        {"sent1": "a big dog on the hill", "sent2": "dog", "label": "yes"},
    ],
    "detect": [
        {"img": picture(), "box": [[1, 2, 20, 25.5], [0, 0, 40, 30]], "name": ["cat", "a small dog"]},
        {"img": picture(12, 50, 2), "box": [[3, 4, 5, 6]], "name": ["big hill"]},
        {"img": picture(12, 50, 3), "box": [], "name": []},
    ],
    "bare": [{"img": picture(), "box_text": [([1, 2, 20, 25], "cat"), ([0, 0, 4, 3], "dog")]}],
    "ground": [
        {"img": picture(), "phrase": "red cat", "box": [5, 6, 7, 8]},
        {"img": picture(64, 64, 5), "phrase": "dog", "box": [0, 0, 64, 64]},
    ],
    "region": [
        {"img": picture(), "box": [5, 6, 17, 28], "cap": "a dog"},
        {"img": picture(33, 32, 6), "box": [1, 1, 2, 2], "cap": "the hill"},
    ],
    "infill": [{"sentence": "what is big or small on the green hill"}, {"sentence": "a red cat"}],
    "language": [{"t": "a"}, {"t": "the green hill and a blue dog"}],
    "two": [
        {"question": "what is it", "first": "a cat", "second": "dog", "group": "food"},
        {"question": "see", "first": "no", "second": "a big green hill", "group": "animals & nature"},
    ],
    "many": [{"hint": ["a cat", "food"], "group": ["food", "flags"]}, {"hint": [], "group": ["animals & nature"]}],
}
ROWS |= {"prompted": ROWS["entail"], "name_first": ROWS["detect"], "head": ROWS["two"]}
ROWS["heads"] = [row | {"label": label} for row, label in zip(ROWS["two"], ("no", "not sure"), strict=True)]


@cache
def tokenizer():
    made = train_tokenizer([" ".join(WORDS)] * 4, 300)
    return made if MODEL.get("vocabulary") is None else with_marks(made)


def with_marks(tokenizer):
    """The tokenizer as a backbone has it: three marks of its own first, which its pieces come after."""
    about = json.loads(tokenizer.to_str())
    pieces = {piece: number + 3 for piece, number in about["model"]["vocab"].items()}
    about["model"]["vocab"] = {"<s>": 0, "<pad>": 1, "</s>": 2} | pieces
    return Tokenizer.from_str(json.dumps(about))


def plans(names=tuple(INSTRUCTIONS)):
    return {n: plan(INSTRUCTIONS[n], settings=SETTINGS if "IMAGE" in INSTRUCTIONS[n] else None) for n in names}


def of(**model):
    """This module once more, whose models are made of something else."""
    spec = spec_from_file_location("tiny_of", __file__)
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    made.MODEL = model
    return made


def grown(names=tuple(INSTRUCTIONS), seed=0):
    """A new model that has grown for these instructions."""
    model = GeneralistModel(seed=seed, **MODEL)
    model.tokenizer = tokenizer()
    model.grow([(p, LABELS) for p in plans(names).values()], lambda: [])
    return model.eval()


@cache
def model():
    """One for all tests that only read it. Its random weights are sharpened, so that its answers differ."""
    with torch.no_grad():
        made = grown()
        made.engine.load_state_dict(
            {k: v * 3 if "weight" in k and v.dim() > 1 else v for k, v in made.engine.state_dict().items()}
        )
    return made


@cache
def program(name):
    return flow.bind(model(), plans((name,))[name], LABELS)


def samples(name, rows=None, **more):
    return [flow.preprocess(program(name), row, **more) for row in (ROWS[name] if rows is None else rows)]


def answer(run):
    """The answer that these tokens, with their states, are."""
    return Answer.of(Hypothesis(run.tokens, run.states, 0.0, 0.0, True))


@torch.no_grad()
def losses(which, samples):
    """(losses of each predicted token, per sample, in order) of one batch."""
    batch = flow.collate(which, samples)
    made = flow.emit(model(), which, flow.compute(model(), flow.adapt(model(), batch)), batch)
    ends = np.cumsum([len(s.run.prefix) + len(s.run.tokens) - 1 for s in samples])
    found = [{} for _ in samples]
    for p in made:
        logits = p.hidden @ p.candidates.T
        if p.targets.allowed is not None:
            logits = logits.masked_fill(~p.targets.allowed, -torch.inf)
        each = torch.nn.functional.cross_entropy(logits, p.targets.labels, reduction="none")
        for at, loss in zip(p.targets.at.tolist(), each.tolist(), strict=True):
            owner = int(np.searchsorted(ends, at, side="right"))
            found[owner][at - (ends[owner - 1] if owner else 0)] = loss
    return [[loss for _, loss in sorted(one.items())] for one in found]
