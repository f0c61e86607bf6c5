"""A trained model behind HTTP: one session answers all requests, and strangers may do no harm."""

from ofasys.serve.limits import Limits
from ofasys.serve.refusal import Refusal

__all__ = ["Limits", "Refusal"]
