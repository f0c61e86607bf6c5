"""Saved models: writing, loading, answering."""

from ofasys.hub.change import load_change, save_change
from ofasys.hub.folder import checkpoint_in
from ofasys.hub.model import load_model, model_files
from ofasys.hub.ofasys import OFASys
from ofasys.hub.output import Output
from ofasys.hub.pending import Event, Pending
from ofasys.hub.session import AnswerSession

__all__ = [
    "AnswerSession",
    "Event",
    "OFASys",
    "Output",
    "Pending",
    "checkpoint_in",
    "load_change",
    "load_model",
    "model_files",
    "save_change",
]
