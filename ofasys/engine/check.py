"""What an engine gives, looked at where it comes in: what is not as promised is said in words."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ofasys.engine.protocol import Engine, Joined, Joining, Session, Tree
from ofasys.errors import PluginError
from ofasys.types import Hidden, States, Stream

_ASKED = ("width", "max_positions", "empty_source", "reads_states", "forward", "open")


def check_engine(name: str, engine: Any) -> None:
    """Errors: PluginError for what is no module, lacks something of `Engine`, or says what cannot be."""
    if not isinstance(engine, nn.Module):
        raise PluginError(f"engine {name!r} is a {type(engine).__name__}; make it a torch.nn.Module")
    for what in _ASKED:
        if (what == "forward" and type(engine).forward is nn.Module.forward) or not hasattr(engine, what):
            raise PluginError(
                f"engine {name!r}: {type(engine).__name__} has no {what}; give it one, as of ofasys.engine.Engine"
            )
    for what in ("width", "max_positions"):
        value = getattr(engine, what)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise PluginError(f"engine {name!r}: {what} is {value!r:.60}; give a whole number of 1 or more")
    for what in ("empty_source", "reads_states"):
        if not isinstance(getattr(engine, what), bool):
            raise PluginError(f"engine {name!r}: {what} is {getattr(engine, what)!r:.60}; give True or False")


def check_states(engine: Engine, source: Stream | None, target: Stream | None, found: Any) -> States:
    """What `forward` gave. Errors: PluginError for what are no states of these streams."""
    where = f"{type(engine).__name__}.forward"
    if not isinstance(found, States):
        raise PluginError(f"{where} gave {_kind(found)}; give States(source, target)")
    for side, stream, hidden in (("source", source, found.source), ("target", target, found.target)):
        if stream is None:
            continue
        if not isinstance(hidden, Hidden):
            raise PluginError(f"{where} gave {_kind(hidden)} for the {side}; give Hidden(states, layout)")
        check_shape(engine, "forward", hidden.states, (len(stream.embedding), engine.width), f" for the {side}")
    return found


def check_session(engine: Engine, session: Any, rows: int, prefix: bool) -> Session:
    """What `open` gave. Errors: PluginError for what is no session, or one without the state after its prefix."""
    if not isinstance(session, Session):
        lacks = [
            name for name in ("hidden", "append", "fill", "reorder", "peek", "branch") if not hasattr(session, name)
        ]
        raise PluginError(
            f"{type(engine).__name__}.open gave {_kind(session)}, which has no {', '.join(lacks)}; give an "
            "ofasys.engine.Session"
        )
    if prefix:
        check_shape(engine, "open", session.hidden, (rows, engine.width), " as hidden after a prefix")
    return session


def joined_of(engine: Engine) -> Joined | None:
    """Room for sessions that go on together; None where an engine offers none. Errors: PluginError for what is none."""
    if not isinstance(engine, Joining):
        return None
    made = engine.joined()
    if not isinstance(made, Joined):
        lacks = [name for name in ("rows", "add", "remove", "append") if not hasattr(made, name)]
        raise PluginError(
            f"{type(engine).__name__}.joined gave {_kind(made)}, which has no {', '.join(lacks)}; give an "
            "ofasys.engine.Joined, or leave joined out"
        )
    return made


def check_tree(engine: Engine, tree: Any) -> Tree:
    """What `branch` gave. Errors: PluginError for what is no tree."""
    if not isinstance(tree, Tree):
        raise PluginError(
            f"the branch of a session of {type(engine).__name__} gave {_kind(tree)}; give an ofasys.engine.Tree, with "
            "count and grow"
        )
    return tree


def check_shape(engine: Engine, method: str, made: Any, shape: tuple[int, ...], what: str = "") -> Tensor:
    """States of an engine, or of its sessions. Errors: PluginError for what has not this shape."""
    if not isinstance(made, Tensor) or tuple(made.shape) != shape or not made.is_floating_point():
        raise PluginError(
            f"{type(engine).__name__}: {method} gave {_kind(made)}{what}; give states of shape {shape}: its width is "
            f"{engine.width}"
        )
    return made


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
