"""Networks that values of OFA's checkpoints go through, against those of others with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ofasys.engine.ofa.config import FRAME, WAVE
from ofasys.errors import PlanError
from ofasys.modality.audio.ofa_conv import OFAConvAdaptor
from ofasys.modality.audio.ofa_frames import OFAFbank, halved
from ofasys.modality.image.ofa_vit import OFAViTAdaptor, ViT
from ofasys.modality.modality import NOWHERE
from ofasys.modality.shared.cut import pictures
from ofasys.modality.shared.ofa_resnet import OFAResNetAdaptor, ResNet
from ofasys.modality.video.preprocess import Film
from ofasys.planner import plan
from ofasys.types import SlotFeatures


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """With statistics and norms that matter."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=random)
                tensor.copy_(noise + 0.5 if tensor.dim() == 1 and "bias" not in name else (noise - 0.5) * 0.2)
    return module.eval()


@torch.no_grad()
def test_resnet_is_transformers() -> None:
    from transformers import ResNetConfig, ResNetModel

    shape = ResNetConfig(embedding_size=64, hidden_sizes=[256, 512, 1024], depths=[3, 4, 6], layer_type="bottleneck")
    peer = randomised(ResNetModel(shape))
    ours, theirs = ResNet(50, 1e-5).eval(), peer.state_dict()

    def take(conv: str, norm: str, name: str) -> dict[str, torch.Tensor]:
        found = {f"{conv}.weight": theirs[f"{name}.convolution.weight"]}
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{norm}.{part}"] = theirs[f"{name}.normalization.{part}"]
        return found

    weights = take("conv1", "bn1", "embedder.embedder")
    for stage, count in enumerate((3, 4, 6)):
        for block in range(count):
            here, there = f"layer{stage + 1}.{block}", f"encoder.stages.{stage}.layers.{block}"
            for number in range(3):
                weights |= take(f"{here}.conv{number + 1}", f"{here}.bn{number + 1}", f"{there}.layer.{number}")
            if block == 0:
                weights |= take(f"{here}.downsample.0", f"{here}.downsample.1", f"{there}.shortcut")
    ours.load_state_dict(weights)
    pixels = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    want = peer(pixels).last_hidden_state
    torch.testing.assert_close(ours(pixels), want, atol=1e-4 * float(want.abs().max()), rtol=1e-4)


@torch.no_grad()
def test_vit_blocks_are_clip_s() -> None:
    from transformers import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPEncoder

    shape = CLIPVisionConfig(hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
    peer, ours = randomised(CLIPEncoder(shape)), ViT(8, 32, 2, 4, 32).eval()
    theirs, weights = peer.state_dict(), {}
    for layer in range(2):
        here, there = f"transformer.resblocks.{layer}", f"layers.{layer}"
        for part in ("weight", "bias"):
            parts = [theirs[f"{there}.self_attn.{name}_proj.{part}"] for name in "qkv"]
            weights[f"{here}.attn.in_proj_{part}"] = torch.cat(parts)
            weights[f"{here}.attn.out_proj.{part}"] = theirs[f"{there}.self_attn.out_proj.{part}"]
            for own, other in (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1")):
                weights[f"{here}.{own}.{part}"] = theirs[f"{there}.{other}.{part}"]
            weights[f"{here}.mlp.c_proj.{part}"] = theirs[f"{there}.mlp.fc2.{part}"]
    ours.load_state_dict(weights, strict=False)
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    blocks = ours.transformer.get_submodule("resblocks")
    torch.testing.assert_close(blocks(x), peer(inputs_embeds=x).last_hidden_state, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_vit_stretches_its_places() -> None:
    vit = ViT(8, 16, 0, 2, 32)
    torch.testing.assert_close(vit.places(4, 4), vit.positional_embedding[1:])
    vit.positional_embedding.fill_(0.5)
    torch.testing.assert_close(vit.places(6, 3), torch.full((18, 16), 0.5))


def patches_of(*shapes: tuple[int, int], side: int) -> dict[str, torch.Tensor]:
    """Random pictures of so many patches down and across, as an adaptor reads them."""
    random = np.random.default_rng(0)
    parts = [
        SlotFeatures(
            {
                "patches": random.integers(0, 256, (h * w, 3 * side * side), dtype=np.uint8),
                "shapes": np.array([[h, w]]),
            },
            h * w,
        )
        for h, w in shapes
    ]
    return {name: torch.from_numpy(array) for name, array in pictures(parts).items()}


ADAPTORS = {
    "resnet": (16, lambda: OFAResNetAdaptor({"depth": 50, "norm_eps": 1e-5}, 8)),
    "vit": (
        14,
        lambda: OFAViTAdaptor({"patch": 14, "vit_width": 16, "vit_layers": 1, "vit_heads": 2, "vit_size": 28}, 8),
    ),
}


@pytest.mark.parametrize("name", ADAPTORS)
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_no_picture_depends_on_another(name: str, training: bool) -> None:
    side, make = ADAPTORS[name]
    torch.manual_seed(0)
    adaptor = make().train(training)
    tensors = patches_of((2, 3), (2, 2), (2, 3), side=side)
    found = adaptor.embed(tensors)
    assert found.shape == (16, 8)
    last = {"patches": tensors["patches"][10:], "grid 2x3": torch.arange(6)[None]}
    torch.testing.assert_close(adaptor.embed(last), found[10:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_sounds_of_one_length_run_together() -> None:
    torch.manual_seed(0)
    adaptor = OFAConvAdaptor({"mels": 20}, 8)
    parts = [
        SlotFeatures({"frames": np.random.default_rng(n).normal(size=(n, 20)).astype(np.float32)}, halved(n))
        for n in (30, 19, 30)
    ]
    joined = OFAFbank.collate(OFAFbank.__new__(OFAFbank), parts)
    found = adaptor.embed({name: torch.from_numpy(array) for name, array in joined.items()})
    alone = [adaptor.of_frames(torch.from_numpy(part.tensors["frames"])[None])[0] for part in parts]
    assert [len(one) for one in alone] == [part.length for part in parts]
    torch.testing.assert_close(found, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_frames_of_a_film_are_told_apart() -> None:
    options = {"frames": 2, "rate": None, "size": 32, "patch": 16, "keep_aspect": False}
    clip = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    made = Film(options, None).preprocess(clip, NOWHERE)  # type: ignore[arg-type]
    assert made.grid is not None
    assert made.grid.tolist() == [[FRAME * f + y, x] for f in (1, 2) for y in (0, 1) for x in (0, 1)]
    assert {name: array.shape for name, array in Film(options, None).collate([made]).items()} == {  # type: ignore[arg-type]
        "patches": (8, 768),
        "grid 2x2": (2, 4),
    }


def test_sound_stands_in_a_wave() -> None:
    line = plan("[AUDIO:a,preprocess=ofa_fbank] -> [TEXT:t]")
    assert line.slots[0].adaptor.name == "ofa_conv"
    maker = OFAFbank(line.slots[0].values, None)  # type: ignore[arg-type]
    wave = np.sin(np.arange(16000) / 10).astype(np.float32)
    made = maker.preprocess({"array": wave, "sampling_rate": 16000}, NOWHERE)
    assert made.length == halved(len(made.tensors["frames"])) == 24
    assert (made.grid == WAVE).all()


WRONG = {
    "[IMAGE:i,adaptor=ofa_resnet,patch=8] -> [TEXT:t]": "say patch=16",
    "[IMAGE:i,adaptor=resnet,patch=14,size=112] -> [TEXT:t]": "no power of two",
    "[VIDEO:v,preprocess=film,patch=8] -> [TEXT:t]": "say patch=16",
    "[VIDEO:v,preprocess=film,adaptor=patch] -> [TEXT:t]": "go together",
    "[AUDIO:a,preprocess=ofa_fbank,adaptor=conv] -> [TEXT:t]": "go together",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_does_not_go_together(line: str) -> None:
    with pytest.raises(PlanError, match=WRONG[line]):
        plan(line)


def test_what_goes_together() -> None:
    for line in (
        "[IMAGE:i,adaptor=ofa_vit,patch=14,size=112] -> [TEXT:t]",
        "[IMAGE:i,preprocess=bicubic] -> [TEXT:t]",
        "[VIDEO:v,preprocess=film,adaptor=ofa_resnet] -> [TEXT:t]",
    ):
        plan(line)


def test_the_estimate_of_a_network_is_its_weights() -> None:
    line = plan("[IMAGE:i,preprocess=bicubic,depth=50] -> [TEXT:t]").slots[0]
    from ofasys.modality import BUILT_IN

    for name in ("ofa_resnet", "ofa_vit"):
        part = BUILT_IN.spec("IMAGE").adaptor[name]
        options = {**line.values, "vit_width": 32, "vit_layers": 2, "vit_heads": 2, "vit_size": 32}
        learned = sum(weight.numel() for weight in part.resolve()(options, 24).parameters())
        assert part.cost(options, 24)[0] == learned
