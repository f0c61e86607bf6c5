"""What a process that reads files may meet, for tests."""

import os
from pathlib import Path

import numpy as np

from ofasys.types import SlotFeatures


class Kills:
    """A preprocessor that dies, loops, eats memory, writes, or lies, as the value says."""

    def preprocess(self, value, context):
        if value == b"die":
            os.kill(os.getpid(), 9)
        if value == b"loop":
            while True:
                pass
        if value == b"eat":
            bytearray(3 << 30)
        if value == b"write":
            Path(self.place).write_text("x" * 10_000)
        if value == b"secrets":
            return SlotFeatures({"tokens": np.arange(1)}, 1 + any("API_KEYS" in name for name in os.environ))
        return SlotFeatures({"tokens": np.arange(3)}, 3, info={"n": np.int64(3)})
