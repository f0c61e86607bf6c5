"""Frames cut into patches, their positions (frame, y, x), and the weights they share with IMAGE."""

import sys

import clips
import numpy as np
import pytest
import torch
from PIL import Image

from ofasys.errors import DataError, PlanError
from ofasys.modality import Context
from ofasys.modality.image.preprocess import BicubicPixels, Pixels
from ofasys.modality.shared.patch import scaled
from ofasys.modality.video.preprocess import Film, Frames
from ofasys.planner import plan

OPTIONS = {"frames": 4, "rate": None, "size": 16, "patch": 8, "keep_aspect": False}


def part(**options):
    return Frames(OPTIONS | options, None)


def clip(frames=6, width=20, height=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def test_each_frame_is_cut_as_a_picture_is():
    value = clip(4)
    piece = part().preprocess(value, Context())
    image = Pixels({"size": 16, "patch": 8, "keep_aspect": False}, None)
    alone = [image.preprocess(frame, Context()) for frame in value]
    np.testing.assert_array_equal(piece.tensors["patches"], np.concatenate([p.tensors["patches"] for p in alone]))
    np.testing.assert_array_equal(piece.tensors["shapes"], np.concatenate([p.tensors["shapes"] for p in alone]))
    np.testing.assert_array_equal(piece.grid, np.concatenate([p.grid for p in alone]))
    assert set(piece.tensors) == set(alone[0].tensors)  # so that one collate joins both
    assert (piece.length, piece.orders) == (16, 4)
    assert piece.info == {"width": 20, "height": 12, "duration": 4, "frames": 4}


def test_a_long_clip_is_sampled_and_a_short_one_taken_whole():
    value = np.stack([clips.grey(i) for i in range(12)])
    piece = part().preprocess(value, Context())
    assert (piece.tensors["patches"].reshape(4, -1).mean(1) / clips.STEP).tolist() == [1, 4, 7, 10]
    assert part().preprocess(value[:2], Context()).orders == 2
    assert part().preprocess(Image.fromarray(value[3]), Context()).orders == 1


def test_random_moments_in_training_only():
    value = np.stack([clips.grey(i) for i in range(30)])

    def taken(training, seed):
        random = np.random.Generator(np.random.PCG64(seed))
        piece = part().preprocess(value, Context(training=training, random=random))
        return (piece.tensors["patches"].reshape(4, -1).mean(1) / clips.STEP).tolist()

    assert taken(False, 0) == taken(False, 1) == [3, 11, 18, 26]
    assert taken(True, 0) == taken(True, 0)
    assert len({tuple(taken(True, seed)) for seed in range(5)}) > 1


def test_the_shape_is_kept_by_option():
    piece = part(keep_aspect=True, size=32).preprocess(clip(2, 40, 20), Context())
    assert piece.tensors["shapes"].tolist() == [[2, 4]] * 2
    assert piece.length == 16


def test_frames_of_different_sizes_take_the_shape_of_the_first():
    value = [clip(1, 40, 20)[0], clip(1, 20, 40)[0]]
    piece = part(keep_aspect=True, size=32).preprocess(value, Context())
    assert piece.tensors["shapes"].tolist() == [[2, 4]] * 2


def test_so_many_a_second(mp4):
    piece = part(rate=2.0).preprocess(mp4, Context())
    assert (piece.tensors["patches"].reshape(4, -1).mean(1) / clips.STEP).round().tolist() == [7, 12, 17, 22]
    with pytest.raises(DataError, match="frames without a rate"):
        part(rate=2.0).preprocess(clip(), Context())


def test_a_slow_clip_shows_a_frame_twice():
    value = {"frames": np.stack([clips.grey(i) for i in range(3)]), "rate": 1}
    piece = part(rate=2.0, frames=8).preprocess(value, Context())
    assert (piece.tensors["patches"].reshape(6, -1).mean(1) / clips.STEP).tolist() == [0, 0, 1, 1, 2, 2]


def test_reading_the_face_loads_no_torch():
    import subprocess

    code = "import sys, ofasys.modality.video; assert not {'torch', 'PIL', 'av'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_film_is_the_middle_of_its_frames_by_imagenet_s_means():
    value = clip(2, width=24, height=16)
    made = Film(OPTIONS | {"colours": "imagenet"}, None).preprocess(value, Context()).tensors["patches"]
    seen = scaled(torch.from_numpy(made)).view(2, 4, 3, 64)
    middle = np.ascontiguousarray(value[:, :, 4:20])
    picture = BicubicPixels({"size": 16, "patch": 8, "keep_aspect": False}, None)
    alone = [picture.preprocess(one, Context()) for one in middle]
    pixels = torch.from_numpy(np.stack([part.tensors["patches"] for part in alone])).view(2, 4, 3, 64) / 255
    means, deviations = (torch.tensor(v)[:, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(seen, (pixels - means) / deviations, atol=1e-5, rtol=1e-5)


def test_a_film_takes_no_shape():
    with pytest.raises(PlanError, match="leave keep_aspect out"):
        plan("[VIDEO:clip,preprocess=film,keep_aspect] -> [TEXT:cap]")
