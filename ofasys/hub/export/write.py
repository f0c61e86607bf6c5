"""Writes the graphs of an instruction into a folder, after they have answered as the model does."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.hub.export.graphs import MEMORY, NOTHING, SourceGraph, StepGraph
from ofasys.hub.export.line import Line, described, line_of
from ofasys.hub.store import check_place, write_folder
from ofasys.program.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
ABOUT = "export.json"
OPSET = 20
MOST = 2**16  # of a dimension that is left open
MOST_APART = 1e-3  # of the largest score: what two correct ways of adding up float32 stay far below

Given = dict[str, Tensor]


@dataclass(frozen=True)
class Graph:
    """One of the graphs, and what it is traced and tried with."""

    name: str
    """Of its files."""
    module: nn.Module
    """It, as torch runs it."""
    given: Given
    """Inputs it is traced with."""
    other: Given
    """Inputs of other sizes."""
    dynamic: Mapping[str, Mapping[int, Any]]
    """Input -> dimension -> which one of those that are left open."""
    outputs: tuple[str, ...]
    """Names of what it gives."""


def export(model: GeneralistModel, program: Program, folder: Path, most: int) -> dict[str, Any]:
    """Write `source` and `step` of a program's instruction as `.onnx` and `.pt2`, the tokenizer, and `export.json` ->
    what the latter holds.

    most: tokens of an answer. What is written has given what the model gives, on other sizes than it was traced with.
    A folder that was there is replaced whole, when all is written; errors leave it as it was. Errors: PlanError for an
    instruction that no graph can hold; ConfigError for a place that holds something else, a missing library, a model
    on another device than the CPU, or a graph that gives something else than the model.
    """
    check_place(folder)
    line = line_of(model, program)
    _check_libraries()
    if model.device.type != "cpu":
        raise ConfigError(f"the model is on {model.device}, and graphs are traced on the CPU; move it with .to('cpu')")
    with TemporaryDirectory(prefix="ofasys-export-") as aside, _evaluating(model):
        made: dict[str, Any] = {}
        apart = 0.0
        for graph in _graphs(model, line):
            apart = max(apart, _written(graph, Path(aside), made))
        about = {
            "ofasys export": FORMAT,
            **described(model, line, most),
            "graphs": sorted({name.partition(".")[0] for name in made}),
            "largest_difference": apart,
        }
        write_folder(folder, {**made, "tokenizer.json": program.symbols.to_json(), ABOUT: about})
    return about


def _check_libraries() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(name)
        except ImportError as error:
            raise ConfigError(f'a graph is written by the library `{name}`: pip install "ofasys[export]"') from error


@contextmanager
def _evaluating(model: GeneralistModel) -> Iterator[None]:
    """Without dropout and gradients; as it was before afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _past(model: GeneralistModel, rows: int, length: int) -> Tensor:
    config: Any = model.config
    return torch.zeros(config.decoder_layers, 2, rows, config.heads, length, config.width // config.heads)


def _open(name: str, least: int = 1) -> Any:
    return Dim(name, min=least, max=MOST)


def _graphs(model: GeneralistModel, line: Line) -> list[Graph]:
    return [*([_source(model, line)] if line.reads else []), _step(model, line)]


def _source(model: GeneralistModel, line: Line) -> Graph:
    module, batch = SourceGraph(model, line.reads), _open("batch")
    dynamic: dict[str, dict[int, Any]] = {}
    for number, part in enumerate(part for part in line.reads if part.name):
        dynamic[part.name] = {0: batch} if part.value is not None else {0: batch, 1: _open(f"length_{number}")}
    given, other = (_source_given(line, rows, length) for rows, length in ((3, 5), (1, 1)))
    return Graph("source", module, given, other, dynamic, MEMORY)


def _source_given(line: Line, rows: int, length: int) -> Given:
    """Made-up values of the source's slots, the second of them without any tokens."""
    draw, found = torch.Generator().manual_seed(length), Given()
    for number, part in enumerate(part for part in line.reads if part.name):
        if part.value is not None:
            found[part.name] = torch.randint(0, 256, (rows, *part.value.shape), generator=draw).to(part.value.dtype)
            continue
        ids = line.program.symbols.vocabulary.size
        found[part.name] = torch.randint(0, ids, (rows, length + number), generator=draw)
        found[part.name][1:2] = NOTHING
    return found


def _step(model: GeneralistModel, line: Line) -> Graph:
    module = StepGraph(model, line.constraint.grid is not None)
    batch, new, past, source = _open("batch"), _open("new"), _open("past", 0), _open("source")
    dynamic = {
        "tokens": {0: batch, 1: new},
        "past": {2: batch, 4: past},
        "memory": {2: batch, 4: source},
        "seen": {0: batch, 1: source},
        "grid": {0: batch, 1: new},
        "places": {0: batch, 1: past},
    }
    given, other = (_step_given(model, line, module, *sizes) for sizes in ((3, 4, 5, 6), (1, 1, 0, 2)))
    outputs = ("scores", "past_now", *(["places_now"] if module.remembers_places else []))
    return Graph("step", module, given, other, {name: dynamic[name] for name in given}, outputs)


def _step_given(
    model: GeneralistModel, line: Line, graph: StepGraph, rows: int, new: int, length: int, source: int
) -> Given:
    """Made-up inputs of a step: so many samples, new tokens, tokens before them, and positions of the source, of which
    each sample sees fewer than the one before it, the last of three none.
    """
    draw, ids = torch.Generator().manual_seed(length), line.program.symbols.vocabulary.size
    found = {
        "tokens": torch.randint(0, ids, (rows, new), generator=draw),
        "past": torch.randn(_past(model, rows, length).shape, generator=draw),
    }
    if line.reads:
        found["memory"] = torch.randn(_past(model, rows, source).shape, generator=draw)
        found["seen"] = torch.arange(source).expand(rows, source) < source - 3 * torch.arange(rows)[:, None]
    if graph.gridded:
        found["grid"] = torch.arange(new)[None, :, None].expand(rows, new, 2) - 1
    if graph.remembers_places:
        found["places"] = torch.arange(length)[None, :, None].expand(rows, length, 3).clone()
    return found


def _written(graph: Graph, folder: Path, made: dict[str, Any]) -> float:
    """Write a graph in both forms, add its files, and compare them with the model -> how far they are apart at most."""
    try:
        with torch._dynamo.config.patch(fake_tensor_cache_enabled=False):  # of open shapes it costs more than it saves
            program = torch.export.export(graph.module.eval(), (graph.given,), dynamic_shapes=(graph.dynamic,))
    except Exception as error:  # torch raises nothing more precise
        raise ConfigError(
            f"torch cannot trace the {graph.name} of this line ({' '.join(str(error).split())[:300]}); "
            "use another adaptor in its slots"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of this machine
    torch.export.save(program, folder / f"{graph.name}.pt2")
    place = folder / f"{graph.name}.onnx"
    _to_onnx(graph, program, place)
    made |= {one.name: one for one in sorted(folder.glob(f"{graph.name}.*"))}
    return _apart(graph, place)


def _to_onnx(graph: Graph, program: ExportedProgram, place: Path) -> None:
    """Write a graph in ONNX; what is large lies beside it, in `NAME.onnx.data`."""
    from onnx_ir.passes.common import NameFixPass

    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        written = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(graph.given),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert written is not None
    for node in written.model.graph:
        node.metadata_props.clear()
    NameFixPass()(written.model)  # a column may be called as the exporter calls a value within
    written.save(place)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's words about libraries that this package does not use."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _apart(graph: Graph, place: Path) -> float:
    """How far what onnxruntime makes of a file is from what torch makes of the model, of the largest number.

    Errors: ConfigError where that is too much.
    """
    import onnxruntime

    session, largest = onnxruntime.InferenceSession(place, providers=["CPUExecutionProvider"]), 0.0
    for given in (graph.given, graph.other):
        found = session.run(list(graph.outputs), {name: value.numpy() for name, value in given.items()})
        for name, one, other in zip(graph.outputs, found, graph.module(given), strict=True):
            expected = other.double()
            apart = (torch.from_numpy(one).double() - expected).abs().max() / expected.abs().max().clamp(min=1)
            if not float(apart) <= MOST_APART:
                raise ConfigError(
                    f"{name} of {graph.name}.onnx is {float(apart):.2g} of its largest number away from what the model "
                    "gives, so nothing was written; use the versions of onnx, onnxscript and onnxruntime that "
                    "constraints.txt names"
                )
            largest = max(largest, float(apart))
    return largest
