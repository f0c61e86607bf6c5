import math

import numpy as np
import pytest
from PIL import Image

from ofasys.errors import DataError
from ofasys.metric import codebook_use, psnr, ssim


def picture(seed, width=23, height=17):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def noisy(image, seed, much=20):
    noise = np.random.default_rng(seed).normal(0, much, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_psnr_and_ssim_are_scikit_images(seed):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    true = picture(seed)
    for found in (noisy(true, seed), picture(seed + 100)):
        assert psnr([found], [true])["psnr"] == pytest.approx(peak_signal_noise_ratio(true, found, data_range=255))
        theirs = structural_similarity(
            true,
            found,
            data_range=255,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim([found], [true])["ssim"] == pytest.approx(theirs)


def test_equal_pictures_and_means():
    one = picture(0)
    assert psnr([one], [one]) == {"psnr": 100}
    assert ssim([one], [one]) == {"ssim": pytest.approx(1)}
    off = np.full((16, 16, 3), 100, np.uint8)
    assert psnr([off], [off + np.uint8(10)])["psnr"] == pytest.approx(10 * math.log10(255**2 / 100))
    both = psnr([off, one], [off + np.uint8(10), one])["psnr"]
    assert both == pytest.approx((10 * math.log10(255**2 / 100) + 100) / 2)


def test_what_holds_a_picture(tmp_path):
    array = picture(3)
    image = Image.fromarray(array)
    image.save(tmp_path / "a.png")
    for value in (array, image, tmp_path / "a.png", str(tmp_path / "a.png"), array / 255.0, image.convert("RGBA")):
        assert psnr([value], [array]) == {"psnr": 100}
    grey = array[..., 0]
    assert psnr([grey], [np.stack([grey] * 3, -1)]) == {"psnr": 100}


def test_a_reference_of_another_size_is_resized():
    large = Image.fromarray(picture(0, 40, 40)).resize((80, 80), Image.Resampling.BICUBIC)
    small = large.resize((40, 40), Image.Resampling.BILINEAR)
    assert psnr([small], [large]) == {"psnr": 100}


@pytest.mark.parametrize(
    "value", [None, "nowhere.png", np.zeros((0, 3, 3)), np.zeros((3, 3, 2)), 7, np.full((9, 9), 2.0)]
)
def test_what_is_no_picture(value):
    for metric in (psnr, ssim):
        with pytest.raises(DataError, match=r"\(sample 0\); expected a PIL image"):
            metric([value], [picture(0)])


def test_ssim_needs_room_for_its_window():
    with pytest.raises(DataError, match=r"the picture is 23 x 10 pixels \(sample 0\); expected at least 11 x 11"):
        ssim([picture(0, 23, 10)], [picture(1, 23, 10)])
    assert ssim([picture(0, 11, 11)], [picture(0, 11, 11)])["ssim"] == pytest.approx(1)


def test_codebook_use():
    found = codebook_use([np.arange(4).reshape(2, 2), [0, 1, 2, 3]], [8, 8])
    assert found == {"codebook_perplexity": pytest.approx(4), "codebook_share": 0.5}
    assert codebook_use([[5, 5, 5]], [8]) == {"codebook_perplexity": 1, "codebook_share": 0.125}
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert codebook_use([[0, 0], [0, 1]], [2, 2])["codebook_perplexity"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("codes", "size", "says"),
    [([8], 8, "whole numbers from 0 to 7"), ([-1], 8, "not codes"), ([0.5], 8, "not codes"), ([0], 0, "size is 0")],
)
def test_what_are_no_codes(codes, size, says):
    with pytest.raises(DataError, match=says):
        codebook_use([codes], [size])
    with pytest.raises(DataError, match="no codes at all"):
        codebook_use([np.zeros(0, int)], [8])
    with pytest.raises(DataError, match="the same for all samples"):
        codebook_use([[0], [0]], [8, 4])
