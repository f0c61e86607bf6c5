"""Makes `import clips` work."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def mp4(tmp_path_factory):
    """30 frames, 10 a second, a key frame every 12. Only to be read."""
    import clips

    return clips.film(tmp_path_factory.mktemp("clips") / "clip.mp4")
