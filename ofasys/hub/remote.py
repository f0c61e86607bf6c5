"""Saved models on the Hugging Face hub: brought from it, and put there.

Only the files that our manifest lists are fetched, or of OFA in the form of Hugging Face those that it is read from,
all of one commit; they are read as those of any folder. The library huggingface_hub, which the extra `hub` brings, is
imported when the hub is first asked. The address of the hub and who asks are found where it finds them: HF_ENDPOINT,
HF_TOKEN, `hf auth login`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ofasys.engine.huggingface.reach import endpoint, hub_library
from ofasys.errors import CheckpointError, ConfigError
from ofasys.hub.facts import FACTS
from ofasys.hub.folder import near_to
from ofasys.hub.model import ANSWERING, MODEL_FILES
from ofasys.hub.ofa.huggingface import PIECES, WEIGHTS, is_hugging_face, shards_of
from ofasys.hub.shipped import shipped
from ofasys.hub.store import MANIFEST

FETCHED = (*MODEL_FILES, ANSWERING, FACTS)
SECONDS = 10.0  # that the hub may take to say whether it has a model
_NAME = re.compile(r"(hf:)?(\w[\w.-]*/\w[\w.-]*)(?:@([^\s@]+))?")
_log = logging.getLogger("ofasys")


def place_of(given: Any, revision: str | None = None) -> tuple[Any, str]:
    """(what is given, "") if it is a folder or may be meant as one; else (the folder of a model that comes with the
    package, its name), or (the folder into which a model was brought from the hub, its name and commit).

    given: a path, OWNER/NAME or OWNER/NAME@REVISION, also after hf: where a folder has that name. Errors: ConfigError
    for a revision of a folder; as of `pull`.
    """
    if revision is None and (own := shipped(given)) is not None:
        return own, f"{given}, which comes with ofasys"
    found = _NAME.fullmatch(str(given)) if isinstance(given, (str, Path)) else None
    if found is None or (not found[1] and _is_here(str(given), found[2])):
        if revision is not None:
            raise ConfigError(f"revision is {revision!r}, and {given} is no name of the hub; leave it out")
        return given, ""
    if revision is not None and found[3]:
        raise ConfigError(f"the revision is given twice: as {found[3]!r} and as {revision!r}; give it once")
    place = pull(found[2], revision or found[3])
    return place, f"{found[2]} (commit {place.name:.12})"


def _is_here(given: str, name: str) -> bool:
    """Whether a folder is meant: it is there, or the one it would lie in is, or one of nearly that name."""
    return Path(given).exists() or Path(name.partition("/")[0]).is_dir() or bool(near_to(Path(name)))


def pull(name: str, revision: str | None = None) -> Path:
    """Bring a saved model from the hub -> the folder of its files, in the hub's cache.

    revision: a branch, a tag or a commit; the newest of its main branch if None. Where the hub cannot be reached the
    copy that was brought before is used, and that is told. Errors: ConfigError where the library is not installed;
    CheckpointError where the hub has no such model, or cannot be reached.
    """
    hub = hub_library()
    wanted = revision or hub.constants.DEFAULT_REVISION
    reached = _reached(hub, name, wanted)

    def fetched(file: str, of: str) -> Path:
        there = {"revision": of, "endpoint": endpoint(), "local_files_only": not reached}
        return Path(hub.hf_hub_download(name, file, **there))

    def sought(file: str, of: str) -> Path | None:
        try:
            return fetched(file, of)
        except hub.errors.LocalEntryNotFoundError:
            if reached:  # the way to it broke off
                raise
        except hub.errors.EntryNotFoundError:
            pass
        return None

    with _told(hub, f"model {name!r}"):
        manifest = sought(MANIFEST, wanted)
        if manifest is None:
            return _original(name, wanted, sought)
        for file in _listed(manifest, name):
            fetched(file, manifest.parent.name)
    return manifest.parent


def _original(name: str, wanted: str, sought: Callable[[str, str], Path | None]) -> Path:
    """The folder of OFA in the form of Hugging Face; what it lacks is told where it is opened.

    sought: (name of a file, revision) -> where it was brought; None: there is none. Errors: CheckpointError for
    another model.
    """
    config = sought("config.json", wanted)
    if config is None or not is_hugging_face(config.parent):
        raise CheckpointError(
            f"{name} has no {MANIFEST} on the hub: it is no model of ofasys; one of transformers is an engine, as "
            f"GeneralistModel(engine='hf:{name}')"
        )
    commit = config.parent.name
    for file in PIECES:
        sought(file, commit)
    for file in WEIGHTS:
        index = sought(f"{file}.index.json", commit)
        shards = [file] if index is None else shards_of(index)
        if [one for one in shards if sought(one, commit) is not None]:
            break
    return config.parent


def _listed(manifest: Path, name: str) -> list[str]:
    """Which files to fetch: those of a saved model that the manifest lists."""
    try:
        listed = set(json.loads(manifest.read_text(encoding="utf8"))["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"the {MANIFEST} of {name} cannot be read ({type(error).__name__}: {error}); it was changed on the hub: "
            "give an earlier revision"
        ) from None
    return [file for file in FETCHED if file in listed]


def _reached(hub: Any, name: str, revision: str) -> bool:
    """Whether the hub is there and has that; else what was brought last is meant. Errors: CheckpointError for nothing
    of that.
    """
    try:
        with _told(hub, f"model {name!r}"):
            hub.HfApi(endpoint=endpoint()).repo_info(name, revision=revision, timeout=SECONDS)
            return True
    except NotReachedError:
        held = (hub.try_to_load_from_cache(name, file, revision=revision) for file in (MANIFEST, "config.json"))
        kept = next((one for one in held if isinstance(one, str)), None)
        if kept is None:
            raise
        commit = Path(kept).parent.name
        _log.warning(f"the hub was not reached, so {name} is what was brought from it before: commit {commit:.12}")
        return False


def push(files: Path, name: str, *, revision: str | None = None, private: bool = False, message: str = "") -> str:
    """Put the files of a saved model's folder on the hub as one commit -> its address.

    The repository is made where it is not there; private: only then. revision: the branch, made where it is not there;
    the main one if None. Errors: ConfigError where the library is not installed; CheckpointError where the hub refuses,
    or cannot be reached: no commit is made then.
    """
    hub = hub_library()
    api = hub.HfApi(endpoint=endpoint())
    with _told(hub, f"{name!r}, to which nothing was pushed"):
        hub.utils.validate_repo_id(name)
        api.create_repo(name, private=private or None, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        added = [hub.CommitOperationAdd(path.name, path) for path in sorted(files.iterdir()) if path.is_file()]
        said = message or "A saved model of ofasys"
        made = api.create_commit(name, added, commit_message=said, revision=revision)
    return str(made.commit_url)


class NotReachedError(CheckpointError):
    """The hub cannot be reached."""


@contextmanager
def _told(hub: Any, what: str) -> Iterator[None]:
    """Within it what the hub, its library or the way to it raises is told as a CheckpointError with a next step."""
    errors = hub.errors
    try:
        yield
    except CheckpointError:
        raise
    except errors.GatedRepoError as error:
        raise CheckpointError(f"{what}: its owner grants access to it one by one; ask for it on its page") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{what} has no such revision on the hub; give a branch, a tag or a commit") from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{what}: there is no folder of that name here, and the hub has none that you may use; mend the name, or "
            "log in with `hf auth login` (or HF_TOKEN)"
        ) from error
    except errors.HFValidationError as error:
        raise CheckpointError(f"{what} is no name of the hub ({_first(error)}); give OWNER/NAME") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        step = _STEPS.get(status, "try again later")
        raise CheckpointError(f"{what}: the hub answered {status} ({_first(error)}); {step}") from error
    except ValueError as error:
        raise CheckpointError(f"{what}: {_first(error)}; mend it, and give the same again") from error
    except Exception as error:  # the library, its transport and what stores its large files each raise their own
        raise NotReachedError(
            f"{what}: there is no folder of that name here, and the Hugging Face hub was not reached "
            f"({type(error).__name__}: {_first(error)}); try again with a network, or give a folder"
        ) from error


_STEPS = {
    401: "log in with `hf auth login` (or HF_TOKEN)",
    403: "you may not write there: use a name of your own, or a token that may write",
    409: "someone else wrote at the same time: give the same again",
}


def _first(error: BaseException) -> str:
    """The first line of an error."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
