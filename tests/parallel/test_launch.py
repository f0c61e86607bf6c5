"""How processes are told who they are, and how a command that starts several of them ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ofasys import ConfigError
from ofasys.cli.together import train_together
from ofasys.parallel.place import Place

OTHERS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


def started(code: str, size: int = 2, grace: float = 20.0) -> subprocess.Popen[str]:
    """`launch` in a process of its own; each process it starts runs `code` with `rank` in it."""
    inner = "import os, sys, signal, time; rank = int(os.environ['RANK']); " + code
    outer = (
        f"import sys; from ofasys.parallel import launch; launch.GRACE = {grace}; "
        f"sys.exit(launch.launch([sys.executable, '-c', {inner!r}], {size}))"
    )
    return subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True)


def test_each_is_told_who_it_is(tmp_path: Path) -> None:
    code = (
        f"import json; print(json.dumps(dict(os.environ)), file=open(os.path.join({str(tmp_path)!r}, str(rank)), 'w'))"
    )
    assert started(code, 3).wait(60) == 0
    told = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(3)]
    assert [Place.told(one) for one in told] == [Place(rank, 3, rank) for rank in range(3)]
    assert len({one["MASTER_PORT"] for one in told}) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("sys.exit(3 * rank)", 3),
        ("sys.exit(2 + rank)", 2),
        ("os.kill(os.getpid(), signal.SIGKILL) if rank else None", 128 + signal.SIGKILL),
        ("time.sleep(60) if rank else sys.exit(5)", 5),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN) if rank else None; time.sleep(60) if rank else sys.exit(5)", 5),
    ],
)
def test_the_status_is_that_of_what_failed(code: str, status: int) -> None:
    """Those that do not end by themselves are ended."""
    assert started(code, grace=0.5).wait(50) == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_each_once(number: int) -> None:
    code = (
        f"heard = []; signal.signal({int(number)}, lambda *_: heard.append(os.write(1, b'heard\\n'))); "
        "os.write(1, b'ready\\n'); [time.sleep(0.01) for _ in iter(lambda: bool(heard), True)]; time.sleep(0.2)"
    )
    process = started(code)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.send_signal(number)
    assert process.communicate(timeout=50)[0] == "heard\nheard\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'; it is a whole number"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is 0; it is 1 or more"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR and MASTER_PORT not set; start the run by torchrun"),
        ({"WORLD_SIZE": "2", "RANK": "2", **OTHERS}, "RANK is 2, and WORLD_SIZE 2; a process is numbered from 0 to 1"),
        ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "", **OTHERS}, "LOCAL_RANK is ''; it is a whole number"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Place.told(environment)


def test_alone_where_nobody_says_anything() -> None:
    assert Place.told({}) == Place.told({"WORLD_SIZE": "1", "RANK": "0"}) == Place()
    assert Place.told({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", **OTHERS}) == Place(3, 4, 1)
    assert not Place(3, 4, 1).first
    assert [Place(rank, 3).share("abcdefg") for rank in range(3)] == ["adg", "be", "cf"]


def test_one_launcher_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--nproc is 0; it is 1 or more"):
        train_together(Path("run.yaml"), [], 0)
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", **OTHERS}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="--nproc is 2, and another launcher has begun this process"):
        train_together(Path("run.yaml"), [], 2)


def test_what_starts_processes_needs_no_torch() -> None:
    code = "import sys, ofasys.cli.together; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
