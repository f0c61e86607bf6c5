"""A sequence whose elements are made when they are asked for: the answers of 100,000 labels, of which few are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar, overload

Made = TypeVar("Made")


class OnDemand(Sequence[Made], Generic[Made]):
    """`count` elements, each made once by `make(number)`, which gives an equal one in any thread."""

    def __init__(self, count: int, make: Callable[[int], Made], known: Iterable[Made] = ()) -> None:
        self._count, self._make = count, make
        self._known: dict[int, Made] = dict(enumerate(known))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Made: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Made]: ...

    def __getitem__(self, index: int | slice) -> Made | Sequence[Made]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._count)))
        place = range(self._count)[index]
        if place not in self._known:
            return self._known.setdefault(place, self._make(place))
        return self._known[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(repr(one) for one in self[:3])
        return f"[{shown}{', ...' if self._count > 3 else ''}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (list(self),)
