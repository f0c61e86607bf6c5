"""Several processes that train one model: who they are, what they tell each other, and how they end together."""

from ofasys.parallel.join import joined
from ofasys.parallel.place import Place
from ofasys.parallel.ranks import ALONE, Ranks

__all__ = ["ALONE", "Place", "Ranks", "joined"]
