"""The pages of the demo, each the built-in tasks of one kind of data. A page is a file here and its place below.

`ofasys demo` runs MAIN, `ofasys demo --all` that and PAGES, `ofasys demo --page g2p` one of them.
"""

from ofasys.gallery.pages.draw import PAGE as DRAW
from ofasys.gallery.pages.film import PAGE as FILM
from ofasys.gallery.pages.g2p import PAGE as G2P
from ofasys.gallery.pages.motion import PAGE as MOTION
from ofasys.gallery.pages.page import Line, Page
from ofasys.gallery.pages.pictures import PAGE as MAIN
from ofasys.gallery.pages.speech import PAGE as SPEECH
from ofasys.gallery.pages.sudoku import PAGE as SUDOKU
from ofasys.gallery.pages.table import PAGE as TABLE
from ofasys.gallery.pages.video import PAGE as VIDEO

PAGES: tuple[Page, ...] = (G2P, SPEECH, VIDEO, SUDOKU, TABLE, DRAW, FILM, MOTION)

__all__ = ["MAIN", "PAGES", "Line", "Page"]
