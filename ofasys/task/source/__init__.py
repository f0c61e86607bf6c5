"""The rows of a task, whatever they come in: lists, data sets, streams, files, tars, folders of images.

Rows are read by number, one at a time. A source travels to worker processes: what it carries there is paths and
offsets, never an open file. `open.py` says what is opened by which of the other files.
"""

from ofasys.task.source.fingerprint import fingerprint
from ofasys.task.source.open import is_elsewhere, open_source
from ofasys.task.source.row import Row, Source

__all__ = ["Row", "Source", "fingerprint", "is_elsewhere", "open_source"]
