"""Saved models: writing, loading, answering."""

from ofasys.hub.model import TaskCard, load_model, model_files
from ofasys.hub.ofasys import OFASys, checkpoint_in
from ofasys.hub.output import Output

__all__ = ["OFASys", "Output", "TaskCard", "checkpoint_in", "load_model", "model_files"]
