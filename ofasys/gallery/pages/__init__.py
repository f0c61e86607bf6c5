"""Pages of the demo beside its main one: a kind of data each, in and out. `ofasys demo --all`, `ofasys demo --page
g2p`.
"""

from ofasys.gallery.pages.draw import PAGE as DRAW
from ofasys.gallery.pages.g2p import PAGE as G2P
from ofasys.gallery.pages.motion import PAGE as MOTION
from ofasys.gallery.pages.page import Page
from ofasys.gallery.pages.run import run_all, run_pages
from ofasys.gallery.pages.speech import PAGE as SPEECH
from ofasys.gallery.pages.sudoku import PAGE as SUDOKU
from ofasys.gallery.pages.table import PAGE as TABLE
from ofasys.gallery.pages.video import PAGE as VIDEO

PAGES: tuple[Page, ...] = (G2P, SPEECH, VIDEO, SUDOKU, TABLE, DRAW, MOTION)

__all__ = ["PAGES", "Page", "run_all", "run_pages"]
