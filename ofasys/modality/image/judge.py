"""How good an image tokenizer is: what comes back of pictures, beside the pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ofasys.metric.image import codebook_use, psnr
from ofasys.modality.image.draw import beside
from ofasys.modality.shared.image_tokenizer import ImageTokenizer


def judged(tokenizer: ImageTokenizer, pictures: np.ndarray) -> dict[str, float]:
    """Of pictures (n, S, S, 3) uint8: `psnr`, dB, the mean of what comes back; `codebook_share`, 0..1, of all codes
    those that any of them uses; `codebook_perplexity`.
    """
    codes = [tokenizer.encode(picture) for picture in pictures]
    back = [tokenizer.decode(one) for one in codes]
    return psnr(back, list(pictures)) | codebook_use(codes, [tokenizer.codes] * len(codes))


def sheet(tokenizer: ImageTokenizer, pictures: np.ndarray) -> Image.Image:
    """Pictures (n, S, S, 3) above what comes back of them, small ones enlarged."""
    back = [tokenizer.decode(tokenizer.encode(picture)) for picture in pictures]
    made = beside([Image.fromarray(picture) for picture in (*pictures, *back)], len(pictures))
    scale = max(1, 96 // pictures.shape[1])
    return made.resize((made.width * scale, made.height * scale), Image.Resampling.NEAREST)
