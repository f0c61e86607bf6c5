"""OFASys checkpoints give here what they gave in the original: see tests/ofa_cases.py for where the cases are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ofa_cases import OUTSIDE, OWN, PAD, cases_below, close, model_of

from ofasys.engine.ofa.places import source_places, target_places
from ofasys.hub.ofa.names import home, idle
from ofasys.model.rectangle import in_rectangle
from ofasys.program.batch import layout
from ofasys.types import Stream

CASES = [*cases_below(OWN), *cases_below(OUTSIDE)]


def test_there_are_cases() -> None:
    assert cases_below(OWN), "the small case that comes with the tests is gone"
    if not cases_below(OUTSIDE):
        pytest.skip(f"no case folders below {OUTSIDE}; OFASYS_FIXTURES names another folder")


def segments(case, model, tensors, source):
    """Of each sample the parts of one side: (embedding (n, D), y and x (n, 2))."""
    slots = [slot for slot in case.about["slots"] if slot["is_src"] == source]
    parts = [segment(model, slot, tensors, source) for slot in slots]
    return [list(row) for row in zip(*parts, strict=True)]


def segment(model, slot, tensors, source):
    """One slot -> what it is in each sample."""
    return [token_part(model, slot, ids[ids != PAD]) for ids in slot_value(slot, tensors, source)]


def slot_value(slot, tensors, source):
    """The ids, pixels or frames of a slot."""
    name = f"slot_{slot['index']}"
    return tensors[name] if name in tensors else tensors["src_tokens" if source else "prev_output_tokens"]


def token_part(model, slot, ids):
    return model.tokens.embed({"tokens": ids}), torch.full((len(ids), 2), -1)


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
        grad = weights[place.name].grad.chunk(place.parts)[place.part]
        close(grad.norm(), torch.tensor(want), f"gradient of {key}")
