"""Patches, their grid and positions; both adaptors; sizes and shapes."""

import numpy as np
import pytest
import torch
from PIL import Image

from ofasys.modality import Context
from ofasys.modality.image.adaptor import ResNetAdaptor
from ofasys.modality.image.preprocess import Pixels
from ofasys.modality.shared.patch import PatchAdaptor


def pixels(value, **options):
    return Pixels({"size": 32, "patch": 8, "keep_aspect": False} | options, None).preprocess(value, Context())


def reassembled(piece, patch):
    """The picture its patches make, by their grid."""
    h, w = piece.tensors["shapes"][0]
    picture = np.zeros((h * patch, w * patch, 3), np.uint8)
    for (y, x), flat in zip(piece.grid, piece.tensors["patches"], strict=True):
        picture[y * patch : (y + 1) * patch, x * patch : (x + 1) * patch] = flat.reshape(3, patch, patch).transpose(
            1, 2, 0
        )
    return picture


@pytest.mark.parametrize("patch", [4, 8, 16, 32])
def test_patches_make_the_picture_again(patch, tiny):
    picture = tiny.picture(64, 64)
    piece = pixels(picture, size=64, patch=patch)
    np.testing.assert_array_equal(reassembled(piece, patch), picture)
    assert piece.length == len(piece.grid) == (64 // patch) ** 2
    assert piece.grid.tolist() == [[y, x] for y in range(64 // patch) for x in range(64 // patch)]
    assert piece.orders == 1


def test_a_square_whatever_the_shape(tiny):
    piece = pixels(tiny.picture(100, 10))
    assert piece.tensors["shapes"].tolist() == [[4, 4]]
    assert piece.info == {"width": 100, "height": 10, "read": (32, 32)}
    expected = Image.fromarray(tiny.picture(100, 10)).resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=2.0)
    np.testing.assert_array_equal(reassembled(piece, 8), np.asarray(expected))


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [(64, 64, [4, 4]), (64, 32, [2, 4]), (10, 40, [4, 1]), (1000, 1, [1, 4]), (7, 5, [3, 4])],
)
def test_the_shape_is_kept_by_option(width, height, shape, tiny):
    piece = pixels(tiny.picture(width, height), keep_aspect=True)
    assert piece.tensors["shapes"].tolist() == [shape]
    assert piece.length == shape[0] * shape[1]


def test_a_place_in_the_picture_stays_at_its_place():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[30:, 60:] = 255  # the lower right quarter of a quarter
    for keep in (False, True):
        piece = pixels(picture, keep_aspect=keep)
        bright = piece.tensors["patches"].mean(1) > 128
        h, w = piece.tensors["shapes"][0]
        assert piece.grid[bright].tolist() == [
            [y, x] for y in range(h) for x in range(w) if y >= 3 * h / 4 and x >= 3 * w / 4
        ]


def test_positions_in_the_stream(tiny):
    from ofasys import flow

    made = flow.bind(tiny.model(), flow.plan("see [IMAGE:img] here -> [TEXT:cap]", settings=tiny.SETTINGS), {})
    batch = flow.collate(made, [flow.preprocess(made, row) for row in tiny.ROWS["caption"]])
    before, after = len(made.prompts["see"]), len(made.prompts["here"])
    positions = batch.source.layout.positions[: before + 4 + after]
    image = positions[before : before + 4]
    assert positions[:before].tolist() == [[i, -1, -1] for i in range(before)]
    assert image.tolist() == [[before, y, x] for y in range(2) for x in range(2)]  # one place of the sentence
    assert positions[before + 4 :].tolist() == [[before + 1 + i, -1, -1] for i in range(after)]


def stack(pieces):
    joined = Pixels({"size": 32, "patch": 8, "keep_aspect": True}, None).collate(pieces)
    return {name: torch.from_numpy(array) for name, array in joined.items()}


@pytest.mark.parametrize("kind", [PatchAdaptor, ResNetAdaptor])
def test_an_image_is_embedded_alike_alone_and_among_others(kind, tiny):
    torch.manual_seed(0)
    adaptor = kind({"patch": 8}, 16).eval()
    pieces = [
        pixels(tiny.picture(w, h, i), keep_aspect=True)
        for i, (w, h) in enumerate([(32, 32), (32, 16), (40, 40), (64, 32)])
    ]
    with torch.no_grad():
        together = adaptor.embed(stack(pieces))
        alone = torch.cat([adaptor.embed(stack([piece])) for piece in pieces])
    assert together.shape == (sum(p.length for p in pieces), 16)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_the_resnet_sees_whole_images_in_the_order_of_their_patches(tiny):
    """Its output at a patch is that of a plain convolution over the picture."""
    torch.manual_seed(0)
    adaptor = ResNetAdaptor({"patch": 8}, 16).eval()
    piece = pixels(tiny.picture(32, 16), keep_aspect=True)
    picture = torch.from_numpy(reassembled(piece, 8).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        plain = adaptor.project(adaptor.stages(picture).flatten(2).transpose(1, 2))[0]
        torch.testing.assert_close(adaptor.embed(stack([piece])), plain, atol=1e-5, rtol=1e-4)
