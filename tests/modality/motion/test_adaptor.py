"""Frames to embeddings and back: shapes, time, neighbours that change nothing; and what denoising learns alone."""

import numpy as np
import pytest
import torch

from ofasys.criterion.diffusion import prepare
from ofasys.language import options_of
from ofasys.modality.modality import Context
from ofasys.modality.motion import MOTION
from ofasys.modality.motion.adaptor import FrameAdaptor, waves
from ofasys.modality.motion.options import MotionOptions
from ofasys.modality.motion.preprocess import Frames
from tests.modality.motion import bodies

DEFAULTS = {name: option.default for name, option in options_of(MotionOptions).items()}


def made(stride=1, width=16):
    options = DEFAULTS | {"stride": stride}
    options["fitted"] = Frames.fit([(bodies.walker(k), Context()) for k in range(3)], options, 0)
    torch.manual_seed(0)
    return Frames(options, None), FrameAdaptor(options, width), options


def tensors(reader, pieces):
    return {name: torch.from_numpy(array) for name, array in reader.collate(pieces).items()}


@pytest.mark.parametrize("stride", [1, 3])
def test_shapes_and_neighbours(stride):
    reader, adaptor, _ = made(stride)
    pieces = [reader.preprocess(bodies.walker(k, frames=6 + 3 * k), Context()) for k in range(3)]
    pieces = [prepare(piece, {"timesteps": 100}, np.random.default_rng(k))[0] for k, piece in enumerate(pieces)]
    joined = adaptor.embed(tensors(reader, pieces))
    assert joined.shape == (sum(piece.length for piece in pieces), 16)
    alone = torch.cat([adaptor.embed(tensors(reader, [piece])) for piece in pieces])
    torch.testing.assert_close(joined, alone)
    torch.nn.init.normal_(adaptor.frames.weight)
    torch.nn.init.normal_(adaptor.through.weight)
    batch = tensors(reader, pieces)
    said = adaptor.predict(joined, batch["lengths"], batch | {"noised": batch["frames"]})["frames"]
    assert said.shape == batch["frames"].shape
    one = tensors(reader, pieces[1:2])
    rows = slice(pieces[0].length, pieces[0].length + pieces[1].length)
    alone = adaptor.predict(joined[rows], one["lengths"], one | {"noised": one["frames"]})["frames"]
    torch.testing.assert_close(said[rows], alone)


def test_a_new_model_says_the_mean():
    reader, adaptor, _ = made()
    noise = {"noised": torch.randn(4, adaptor.channels), "time": torch.tensor([0.5])}
    said = adaptor.predict(torch.randn(4, 16), torch.tensor([4]), noise)["frames"]
    assert not said.any()
    motion = reader.postprocess(said.detach().numpy(), Context())
    assert len(motion) == 4


@pytest.mark.parametrize(
    ("stride", "options", "rows"),
    [
        (1, {}, 60),
        (1, {"frames": 10}, 10),
        (1, {"length": 7}, 7),
        (1, {"length": 70}, 70),
        (1, {"max_length": 12}, 12),
        (4, {}, 15),
        (4, {"length": 7}, 2),
        (4, {"max_length": 12, "length": 70}, 12),
    ],
)
def test_what_is_to_be_made(stride, options, rows):
    _, adaptor, chosen = made(stride)
    assert adaptor.shape(chosen | options) == (rows, adaptor.channels)


def test_times_differ():
    told = waves(torch.arange(1001) / 1000)
    near = torch.cdist(told, told) + 10 * torch.eye(1001)
    assert near.min() > 0.1


def test_the_face_loads_no_torch_and_names_parts_that_are_there():
    import subprocess
    import sys

    code = (
        "import sys; from ofasys.modality.motion import MOTION; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for part in (*MOTION.preprocess.values(), *MOTION.adaptor.values(), MOTION.save):
        assert part.resolve()
    assert MOTION.expected(DEFAULTS) == 60
    assert MOTION.expected(DEFAULTS | {"stride": 7}) == 9
    assert MOTION.expected(DEFAULTS | {"max_length": 5}) == 5
