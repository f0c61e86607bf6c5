#!/usr/bin/env bash
# torch 2.13.0 with onnxscript 0.7.2 and onnx-ir 1.1.0, and onnxruntime 1.32.0: an input that is called as a weight.
#
# Guess: torch.onnx.export gives each value of a graph a name of its own; an input that is called as a buffer of the
# module makes the exporter rename the buffer, or is an error.
# Seen: both have the one name. onnx's full check passes, and onnxruntime takes what is given as the input for the
# buffer too: a + table of a = 1, 1, 1 and table = 0, 1, 2 gives 2, 2, 2, with a warning in its log at most.
# So: let onnx_ir rename (NameFixPass) before the file is written, and compare what the file answers with the module.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 onnx==1.23.2 onnx-ir==1.1.0 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
FOLDER=$folder "$folder/venv/bin/python" - <<'PY'
import os

import numpy as np
import onnx
import onnxruntime
import torch
from onnx_ir.passes.common import NameFixPass


class Sum(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.tensor([0.0, 1.0, 2.0]))

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return a + self.table


def answered(path: str) -> list[float]:
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in onnx.load(path).graph.input)
    return session.run(None, {name: np.ones(3, np.float32)})[0].tolist()


module = Sum().eval()
program = torch.onnx.export(module, (torch.ones(3),), input_names=["table"], dynamo=True, verbose=False)
path = os.path.join(os.environ["FOLDER"], "sum.onnx")
program.save(path)
twice = answered(path)
NameFixPass()(program.model)
program.save(path)
once = answered(path)
print(torch.__version__, onnxruntime.__version__, "module", module(torch.ones(3)).tolist(), "file", twice, once)
assert module(torch.ones(3)).tolist() == once == [1.0, 2.0, 3.0]
assert twice == [2.0, 2.0, 2.0]
PY
