"""Saved models: writing, loading, answering."""

from ofasys.hub.model import load_model, model_files
from ofasys.hub.ofasys import OFASys, checkpoint_in
from ofasys.hub.output import Output

__all__ = ["OFASys", "Output", "checkpoint_in", "load_model", "model_files"]
