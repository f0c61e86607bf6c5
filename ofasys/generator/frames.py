"""Frame by frame: each step predicts a position's frames, reads them back, and asks whether that was the last.

`R` rows, `r` frames a position, `C` numbers a frame, `D` width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.decoder import Continuation

MOST = 1000


@torch.no_grad()
def frames(
    adaptor: Any,
    before: Continuation,
    options: Mapping[str, Any],
    seeds: Sequence[int] = (),
    negative: Continuation | None = None,
) -> list[np.ndarray]:
    """All rows at once -> per row (length * r, C) float32. Nothing is drawn at random: `seeds` do not matter.

    adaptor: `predict` gives `frames` and, where it has one, a postnet's input `coarse`, which is what is read back, and
    `stop`, a logit; `ahead`, if there, gives these two without the rest. before: what came before, R rows. options:
    stop_threshold, min_positions, and max_length and max_positions, the fewer of which counts (MOST if neither is
    there, and never more than the model has room for in that row). A row that has stopped goes on until all have, and
    what it says then is cut off.
    """
    most = min([int(options[name]) for name in ("max_length", "max_positions") if options.get(name)] or [MOST])
    own = before.rooms.clamp(max=most)
    most = int(own.max())
    least, threshold = int(options["min_positions"]), float(options["stop_threshold"])
    hidden: Tensor = before.hidden
    one = torch.ones(len(hidden), dtype=torch.long, device=hidden.device)
    lengths = own
    states = []
    for step in range(1, most + 1):
        states.append(hidden)
        made = adaptor.ahead(hidden) if hasattr(adaptor, "ahead") else adaptor.predict(hidden, one, {})
        if step >= least and "stop" in made:
            stops = (torch.sigmoid(made["stop"].float()) >= threshold) & (lengths > step)
            lengths = torch.where(stops, step, lengths)
        if step == most or bool((lengths <= step).all()):
            break
        back = made["coarse"] if "coarse" in made else made["frames"]  # (R, r, C)
        hidden = before.step(adaptor.embed({"frames": back.flatten(0, -2), "lengths": one})[:, None])
    along = torch.stack(states, 1)  # (R, steps, D)
    kept = torch.arange(along.shape[1], device=along.device) < lengths[:, None]
    whole = adaptor.predict(along[kept], lengths, {})["frames"].float()
    return [part.flatten(0, -2).cpu().numpy() for part in whole.split(lengths.tolist())]
