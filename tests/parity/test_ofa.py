"""OFASys checkpoints give here what they gave in the original: see tests/ofa_cases.py for where the cases are."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ofa_cases import OUTSIDE, OWN, PAD, cases_below, close, model_of

from ofasys.engine.ofa.config import FRAME, MARK, WAVE
from ofasys.engine.ofa.places import source_places, target_places
from ofasys.generator.constraint import UNLIMITED, Constraint, EmissionClass, Rest, bind
from ofasys.generator.fairseq import fairseq
from ofasys.generator.options import SearchOptions
from ofasys.hub.ofa.names import home, idle
from ofasys.modality.shared.cut import raster
from ofasys.model.rectangle import in_rectangle
from ofasys.program.batch import layout
from ofasys.program.steps import Opening, StepDecoder
from ofasys.types import OneOf, Stream

CASES = [*cases_below(OWN), *cases_below(OUTSIDE)]


def test_there_are_cases() -> None:
    assert cases_below(OWN), "the small case that comes with the tests is gone"
    if not cases_below(OUTSIDE):
        pytest.skip(f"no case folders below {OUTSIDE}; OFASYS_FIXTURES names another folder")


TEXTS = [
    {"index": 0, "modality": "TEXT", "is_src": True, "attributes": None},
    {"index": 1, "modality": "TEXT", "is_src": False, "attributes": None},
]


def slots_of(about):
    """The slots of a case; a case that says none has a text on each side."""
    return about.get("slots", TEXTS)


def drawn(slot):
    """Whether a slot of the target is the codes of a picture."""
    return "adaptor=image_vqgan" in (slot["attributes"] or ())


def segments(case, model, tensors, source):
    """Of each sample the parts of one side: (embedding (n, D), y and x (n, 2))."""
    slots = [slot for slot in slots_of(case.about) if slot["is_src"] == source]
    parts = [segment(model, slot, tensors, source) for slot in slots]
    return [list(row) for row in zip(*parts, strict=True)]


def segment(model, slot, tensors, source):
    """One slot -> what it is in each sample."""
    value = slot_value(slot, tensors, source)
    if slot["modality"] == "IMAGE" and source:
        return [picture_part(model, pixels[None]) for pixels in value]
    if slot["modality"] == "VIDEO":
        return [film_part(model, clip.transpose(0, 1)) for clip in value]
    if slot["modality"] == "AUDIO":
        frames, lengths = (tensors[f"slot_{slot['index']}_{name}"] for name in ("fbank", "fbank_lengths"))
        return sound_parts(model, frames, lengths.tolist())
    return [token_part(slot, model, ids[ids != PAD]) for ids in value]


def picture_part(model, pixels):
    """Pixels (1, 3, H, W) through the model's own network."""
    (front,) = [adaptor for key, adaptor in model.adaptors.items() if key.startswith("image_ofa")]
    cell = 16 if not hasattr(front, "patch") else front.patch
    h, w = (side // cell for side in pixels.shape[-2:])
    return front.of_pixels(pixels)[0], torch.from_numpy(raster(h, w))


def film_part(model, frames):
    """Frames (t, 3, H, W), those that are zero throughout left out."""
    seen = [number for number, frame in enumerate(frames) if frame.any()]
    parts = [picture_part(model, frames[number][None]) for number in seen]
    grids = [grid + torch.tensor([FRAME * (number + 1), 0]) for number, (_, grid) in zip(seen, parts, strict=True)]
    return torch.cat([part for part, _ in parts]), torch.cat(grids)


def sound_parts(model, frames, lengths):
    """Frames (B, T, C) of values padded with zeros, cut to the lengths the original gives them."""
    (front,) = [adaptor for key, adaptor in model.adaptors.items() if key.startswith("audio_ofa")]
    made = front.of_frames(frames)
    for _ in range(2):
        lengths = [int((n - 1) / 2 + 1) for n in lengths]
    parts = [row[:n] for row, n in zip(made, lengths, strict=True)]
    return [(part, torch.full((len(part), 2), WAVE)) for part in parts]


def slot_value(slot, tensors, source):
    """The ids, pixels or frames of a slot."""
    name = f"slot_{slot['index']}"
    if f"{name}_fbank" in tensors:
        return tensors[f"{name}_fbank"]
    return tensors[name] if name in tensors else tensors["src_tokens" if source else "prev_output_tokens"]


def token_part(slot, model, ids):
    """Tokens; those of a picture, after the mark they begin with, stand in a square."""
    places = torch.full((len(ids), 2), -1)
    if drawn(slot):
        width = math.isqrt(len(ids) - 1)
        places = torch.cat([torch.full((1, 2), MARK), torch.from_numpy(raster(width, width))])
    return model.tokens.embed({"tokens": ids}), places


def stream_of(samples):
    """Parts of each sample -> one stream."""
    lengths = torch.tensor([sum(len(part) for part, _ in parts) for parts in samples])
    embedding = torch.cat([part for parts in samples for part, _ in parts])
    grid = torch.cat([place for parts in samples for _, place in parts])
    order = torch.cat([torch.arange(n) for n in lengths.tolist()])
    positions = torch.cat([order[:, None], grid], 1)
    return Stream(embedding, layout(lengths.numpy(), positions.numpy()))


def run(case):
    """A case through our model -> what it made, flat."""
    model, tensors = model_of(case.folder), case.tensors
    source, target = (stream_of(segments(case, model, tensors, side)) for side in (True, False))
    seen = {}
    hooks = []
    for name, side in (("encoder", model.engine.encoder), ("decoder", model.engine.decoder)):
        for number, block in enumerate(side.blocks, 1):
            keep = lambda _m, _i, out, name=name, number=number: seen.__setitem__(f"{name}_state_{number}", out)  # noqa: E731
            hooks.append(block.register_forward_hook(keep))
    states = model.compute(source, target)
    for hook in hooks:
        hook.remove()
    return SimpleNamespace(model=model, tensors=tensors, source=source, target=target, states=states, seen=seen)


@pytest.fixture(scope="module", params=CASES, ids=str)
def made(request):
    if any(slot["modality"] == "AUDIO" and not slot["is_src"] for slot in slots_of(request.param.about)):
        pytest.skip("a target of sound is not taken over: see docs/ofa-checkpoints.md")
    found = run(request.param)
    found.case = request.param
    found.kept = {
        "encoder": found.tensors["encoder_padding_mask"] == 0,
        "decoder": torch.arange(found.target.layout.length) < found.target.layout.lengths[:, None],
    }
    return found


def sides(made):
    """(name, its part of the engine, its stream, its places) of both sides."""
    engine = made.model.engine
    yield "encoder", engine.encoder, made.source, source_places(made.source.layout)
    yield "decoder", engine.decoder, made.target, target_places(made.target.layout.positions)


def test_embeddings_and_positions(made):
    for name, side, stream, places in sides(made):
        kept = made.kept[name]
        close(side.begin(stream.embedding, places), made.tensors[f"{name}_embedding"][kept], f"{name} embedding")
        if f"{name}_position_embedding" in made.tensors:
            want = made.tensors[f"{name}_position_embedding"][kept]
            close(side.places.points(places), want, f"{name} positions")


def pairs(bias, kept):
    """(B, H, T, S) -> for each sample (H, n, m) of those that are kept on both axes, joined flat."""
    rows, columns = kept
    return torch.cat([b[:, r][:, :, c].flatten() for b, r, c in zip(bias, rows, columns, strict=True)])


def test_biases(made):
    for name, side, stream, places in sides(made):
        rectangle = in_rectangle(SimpleNamespace(**{**vars(stream.layout), "positions": places}))
        bias = side.places.biases(rectangle, rectangle)
        ours = torch.arange(stream.layout.length) < stream.layout.lengths[:, None]
        for number in range(len(side.blocks)):
            want = made.tensors.get(f"{name}_self_attn_bias_{number}")
            if want is None:
                continue
            got = bias(number).expand(stream.layout.batch, -1, -1, -1)
            close(pairs(got, (ours, ours)), pairs(want, (made.kept[name],) * 2), f"{name} bias of layer {number}")


def test_cross_bias(made):
    engine, want = made.model.engine, made.tensors.get("cross_attn_bias")
    keys = engine.across(made.states.source)
    if keys is None or want is None:
        assert want is None or not want.any()
        return
    target = in_rectangle(
        SimpleNamespace(**{**vars(made.target.layout), "positions": target_places(made.target.layout.positions)})
    )
    got = engine.decoder.places.across(target, keys)
    ours = [
        torch.arange(stream.layout.length) < stream.layout.lengths[:, None] for stream in (made.target, made.source)
    ]
    close(pairs(got, ours), pairs(want, (made.kept["decoder"], made.kept["encoder"])), "cross bias")


def test_states_of_each_layer(made):
    for name, side, _, _ in sides(made):
        for number in range(1, len(side.blocks) + 1):
            want = made.tensors[f"{name}_state_{number}"][made.kept[name]]
            close(made.seen[f"{name}_state_{number}"], want, f"{name} state {number}")
    close(made.states.source.states, made.tensors["encoder_out"][made.kept["encoder"]], "encoder out")
    close(made.states.target.states, made.tensors["decoder_out"][made.kept["decoder"]], "decoder out")


def logits_of(made):
    """(N, V) of the original's symbols."""
    want = made.tensors["logits"]
    return made.states.target.states @ made.model.head[: want.shape[-1]].T, want[made.kept["decoder"]]


def test_logits(made):
    close(*logits_of(made), "logits")


def test_losses_and_gradients(made):
    about = made.case.about
    if "nll_sum" not in about:
        pytest.skip("the case has no losses")
    found = run(made.case)
    logits = found.states.target.states @ found.model.head[: made.tensors["logits"].shape[-1]].T
    target = made.tensors["target"][made.kept["decoder"]]
    loss = torch.nn.functional.cross_entropy(logits, target, ignore_index=PAD, reduction="sum")
    close(loss, torch.tensor(about["nll_sum"]), "loss")
    found.model.zero_grad(set_to_none=True)
    (loss / about["ntokens"]).backward()
    weights = dict(found.model.named_parameters())
    for key, want in about.get("grad_norms", {}).items():
        place = None if idle(key) else home(key, {})
        if place is None:
            continue
        whole = weights[place.name].grad
        grad = torch.zeros(1) if whole is None else whole.chunk(place.parts)[place.part]
        close(grad.norm(), torch.tensor(want or 0.0), f"gradient of {key}")


# --- what is generated -----------------------------------------------------------------------------------------------


def text_of(allowed, end):
    """The automaton of a text of the tokens `allowed`, closed by `end`."""
    tokens = np.array(sorted({*allowed, end}), dtype=np.int64)
    one = np.zeros(2, dtype=np.int64)
    return Constraint(
        start=0,
        accept=1,
        end=end,
        lo=one,
        hi=one,
        next=one - 1,
        first=np.array([0, len(tokens), len(tokens)]),
        token=tokens,
        to=np.where(tokens == end, 1, 0),
        slot_of=one - 1,
        class_of=np.array([0, -1]),
        single=one - 1,
        stoppable=np.array([True, False]),
        loops=one > 0,
        forks=one > 0,
        text=np.array([True, False]),
        limit=one + UNLIMITED,
        reserve=one,
        inside=np.array([1, 0]),
        ahead=one * 0,
        wishes=((),),
        rest=Rest(),
        takes=(),
        trie_of=one - 1,
        classes=(EmissionClass(tokens, 0, 0, True),),
    )


def labels_of(labels):
    """The automaton of one of these labels."""
    return bind([OneOf(0)], encode=list, ranges={}, end=END, closed={0: labels})


class CodeDecoder(StepDecoder):
    """Every token stands in a grid of `width` columns, after the mark it begins with."""

    width = 1

    def step(self, tokens, parents, grid=None):
        place = torch.arange(self.done, self.done + tokens.shape[1]) - 1
        cells = torch.stack([place // self.width, place % self.width], 1)
        cells[place < 0] = MARK
        return super().step(tokens, parents, cells.expand(len(tokens), -1, -1))


def decoder_of(found, symbols):
    """What a case's model goes on from."""
    opening = Opening(found.model.engine, None, found.states.source, found.source.layout.batch)
    codes = any(not slot["is_src"] and drawn(slot) for slot in slots_of(found.case.about))
    made = (CodeDecoder if codes else StepDecoder)(opening, found.model.table[:symbols], found.model.head[:symbols])
    if codes:
        made.width = math.isqrt(found.target.layout.length - 1)
    return made


def options_of(settings, count):
    """Settings of the original as options of ours; count: tokens of a prefix, which it counts in a length."""
    return SearchOptions(
        beam_size=settings["beam"],
        n_best=settings["return_n_best"],
        max_length=settings["max_len"] - count,
        min_length=settings.get("min_len", 1) if not count else 0,
        length_penalty=settings.get("lenpen", 1.0) if settings.get("normalize_scores") else 0.0,
        temperature=settings.get("temperature", 1.0),
        no_repeat_ngram_size=settings.get("no_repeat_ngram_size", 0),
    )


def same(got, want, before=0):
    """got: hypotheses of each source; want: those of the original, which begin with `before` tokens of a prefix."""
    for answers, truths in zip(got, want, strict=True):
        assert [answer.tokens.tolist() for answer in answers] == [truth["tokens"][before:] for truth in truths]
        for answer, truth in zip(answers, truths, strict=True):
            score = truth["score"] - sum(truth["positional_scores"][:before])
            assert answer.score == pytest.approx(score, abs=1e-3)


BEGIN, END, UNKNOWN = 0, 2, 3


def test_generations(made):
    about = made.case.about
    V = made.tensors["logits"].shape[-1]
    for run in about.get("generations", ()):
        settings = run["settings"]
        allowed = set(range(V))
        if "constraint_range" in settings:
            lo, hi = map(int, settings["constraint_range"].strip("()").split(","))
            allowed = {*range(4), *range(lo, hi)}
        penalties = {PAD: math.inf, UNKNOWN: settings.get("unkpen", 0.0)}
        got = fairseq(
            decoder_of(made, V),
            text_of(allowed, END),
            [np.array([BEGIN])] * made.source.layout.batch,
            options_of(settings, 0),
            penalties=penalties,
        )
        same(got, run["hypotheses"])


def test_inference(made):
    """What the original's own `inference` gave, whose beams never repeat three tokens."""
    about, V = made.case.about, made.tensors["logits"].shape[-1]
    if "inference" not in about:
        pytest.skip("the case has no inference")
    for asked in about["inference"]:
        call = asked["call"]
        beam, n_best = call.get("beam_size", 5), call.get("return_n_best", 1)
        settings = {"beam": beam, "return_n_best": n_best, "max_len": call["max_len"]}
        settings["no_repeat_ngram_size"] = 3 if beam > 1 else 0
        got = fairseq(
            decoder_of(made, V),
            text_of(range(V), END),
            [np.array([BEGIN])] * made.source.layout.batch,
            options_of(settings, 0),
            penalties={PAD: math.inf},
        )
        for answers, truths in zip(got, asked["results"], strict=True):
            assert [answer.tokens.tolist() for answer in answers] == [truth["tokens"] for truth in truths]
            assert [answer.score for answer in answers] == pytest.approx([t["score"] for t in truths], abs=1e-3)


def test_forced_prefix(made):
    about, V = made.case.about, made.tensors["logits"].shape[-1]
    if "prefix_generation" not in about:
        pytest.skip("the case has no forced prefix")
    run = about["prefix_generation"]
    prefixes = [np.array([BEGIN, *tokens]) for tokens in run["prefix_tokens"]]
    count = len(run["prefix_tokens"][0])
    text = text_of(range(V), END)
    got = fairseq(decoder_of(made, V), text, prefixes, options_of(run["settings"], count), penalties={PAD: math.inf})
    same(got, run["hypotheses"], count)


def test_closed_set(made):
    about, V = made.case.about, made.tensors["logits"].shape[-1]
    if "closed_set_generation" not in about:
        pytest.skip("the case has no closed set")
    run = about["closed_set_generation"]
    labels = list(run["labels"].values()) if "labels" in run else run["settings"]["labels"]
    prefixes = [np.array([BEGIN])] * made.source.layout.batch
    same(fairseq(decoder_of(made, V), labels_of(labels), prefixes, options_of(run["settings"], 0)), run["hypotheses"])
