"""Saved models: writing, loading, answering."""

from ofasys.hub.change import load_change, save_change
from ofasys.hub.folder import checkpoint_in
from ofasys.hub.model import load_model, model_files
from ofasys.hub.ofasys import OFASys
from ofasys.hub.output import Output

__all__ = ["OFASys", "Output", "checkpoint_in", "load_change", "load_model", "model_files", "save_change"]
