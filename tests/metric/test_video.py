"""Figures of clips, frame by frame as scikit-image's."""

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from ofasys.errors import DataError
from ofasys.metric import METRICS, video_psnr
from ofasys.modality.video.moving import Video

DICE = np.random.default_rng(0)
ONE, OTHER = (DICE.integers(0, 256, (3, 12, 10, 3), dtype=np.uint8) for _ in range(2))


def test_each_frame_is_scikit_images():
    each = [peak_signal_noise_ratio(true, made, data_range=255) for made, true in zip(ONE, OTHER, strict=True)]
    found = video_psnr([ONE], [OTHER])
    assert found["video_psnr"] == pytest.approx(np.mean(each))
    assert found["video_psnr_last"] == pytest.approx(each[-1])
    both = video_psnr([ONE, ONE], [OTHER, ONE])
    assert both["video_psnr"] == pytest.approx((np.mean(each) + 100) / 2)


@pytest.mark.parametrize("value", [ONE, Video(ONE, 4.0), list(ONE), [Image.fromarray(one) for one in ONE], ONE / 255])
def test_what_a_clip_may_be(value):
    assert video_psnr([value], [ONE])["video_psnr"] == 100


def test_grey_frames():
    assert video_psnr([ONE[..., 0]], [np.repeat(ONE[..., :1], 3, axis=-1)])["video_psnr"] == 100


@pytest.mark.parametrize("value", [None, 7, "a.mp4", [], ONE[0, 0], {"frames": ONE}])
def test_what_is_no_clip(value):
    with pytest.raises(DataError, match="expected"):
        video_psnr([value], [ONE])


def test_another_number_of_frames():
    with pytest.raises(DataError, match="2 frames, and 3 in the reference"):
        video_psnr([ONE[:2]], [ONE])


def test_it_is_known():
    assert METRICS["video_psnr"].takes == ("video",)
