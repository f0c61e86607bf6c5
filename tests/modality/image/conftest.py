"""Makes `import shapes` work; a tokenizer that knows the shapes."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tokenizer():
    """64 codes, each for 4 x 4 pixels, learnt in some three seconds. Only to be used."""
    import shapes

    from ofasys.modality.shared.image_tokenizer import TokenizerOptions, train_tokenizer

    return train_tokenizer(
        shapes.pixels(), TokenizerOptions(codes=64, patch=4, steps=150, width=16, batch=8, rate=2e-2), seed=0
    )
