"""`ofasys serve` under load from another process: `python -m benchmarks.serving`.

The model and the requests of `benchmarks.session`, with texts of its own in each round. First each request alone and 32
clients that ask as soon as they were answered, in turns, beside static batches of the same model without HTTP; then an
open loop, whose requests come when they come, at shares of that throughput. `--restart N`: N requests, during which the
server is told to end and begun again. `--minutes M`: so long 32 clients ask, and the server's memory is looked at.
Seconds of a CPU are those of the process that answers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.session import CONFIG, LABEL, LENGTHS, Asked, in_batches, made_model, requests
from ofasys.client import Client
from ofasys.hub import OFASys
from ofasys.model.sizes import ModelConfig

CLIENTS = 32
TINY = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, max_positions=512, max_grid=16)
SHARES = (0.5, 0.8)  # of the throughput of 32 clients, at which requests come in the open loop


@dataclass
class Server:
    """A process that serves a folder."""

    process: subprocess.Popen[str]
    port: int

    @classmethod
    def begin(cls, folder: Path, precision: str, port: int = 0) -> Server:
        words = ["serve", str(folder), "--port", str(port), "--waiting", "4096", "--limit", "requests=8192"]
        words += ["--precision", precision]
        start = "import sys; from ofasys.cli.main import main; sys.exit(main())"
        process = subprocess.Popen([sys.executable, "-c", start, *words], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("{") and (told := json.loads(line))["event"] == "serving":
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return cls(process, told["port"])
        raise SystemExit("the server did not begin")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        spent = psutil.Process(self.process.pid).cpu_times()
        return float(spent.user + spent.system)

    def memory(self) -> float:
        """MiB that it holds, of its own."""
        return float(psutil.Process(self.process.pid).memory_full_info().uss) / 2**20

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


def ask(client: Client, one: Asked) -> dict[str, Any]:
    """The answer to one request."""
    options = one.all_options
    if one.line == LABEL:
        options = {"closed_set": one.options["closed_set"]}
    return dict(client.infer(one.line, {"a": one.text}, **options))


def closed_loop(url: str, asked: Sequence[Asked], clients: int) -> list[dict[str, Any]]:
    """Each client asks as soon as it was answered; answers in the order of the requests."""
    with Client(url, patience=600) as client, ThreadPoolExecutor(clients) as threads:
        return list(threads.map(lambda one: ask(client, one), asked))


def open_loop(url: str, asked: Sequence[Asked], rate: float, seed: int) -> list[float]:
    """Requests come at random moments, `rate` a second, whether others were answered or not -> seconds of each, from
    the moment when it came.
    """
    draw = random.Random(seed)
    with Client(url, patience=600) as client, ThreadPoolExecutor(256) as threads:
        began, at, found = time.perf_counter(), 0.0, []
        for one in asked:
            at += draw.expovariate(rate)
            time.sleep(max(0.0, began + at - time.perf_counter()))
            found.append(threads.submit(timed, client, one, began + at))
        return [one.result() for one in found]


def timed(client: Client, one: Asked, came: float) -> float:
    ask(client, one)
    return time.perf_counter() - came


def percentiles(seconds: Sequence[float]) -> str:
    """p50, p95 and p99, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return "  ".join(f"p{at} {1000 * cuts[at - 1]:7.0f} ms" for at in (50, 95, 99))


def throughput(server: Server, model: OFASys, rounds: Sequence[Sequence[Asked]]) -> float:
    """Print a table -> requests a second of 32 clients. rounds: the requests of each; those of the first are asked to
    warm up. No source is one that was read in a round before.
    """
    process = psutil.Process()

    def here() -> float:
        return float(sum(process.cpu_times()[:2]))

    ways: dict[str, tuple[Callable[[Sequence[Asked]], object], Callable[[], float]]] = {
        "one at a time": (lambda asked: closed_loop(server.url, asked, 1), server.cpu),
        "static batches of 8, no HTTP": (lambda asked: in_batches(model, asked), here),
        f"{CLIENTS} clients": (lambda asked: closed_loop(server.url, asked, CLIENTS), server.cpu),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for way, _ in ways.values():
        way(rounds[0])
    for number, asked in enumerate(rounds[1:]):
        for name, (way, clock) in ways.items():
            own = [replace(one, text=f"{name[0]}{number} {one.text}") for one in asked]  # the server keeps sources
            began = clock(), time.perf_counter()
            way(own)
            spent[name].append((clock() - began[0], time.perf_counter() - began[1]))
    cpu, wall = ({name: statistics.median(one[i] for one in every) for name, every in spent.items()} for i in (0, 1))
    print(f"{'':30}{'CPU s':>8}{'wall s':>8}{'requests/s':>12}{'requests/CPU s':>16}")
    for name in ways:
        print(
            f"{name:30}{cpu[name]:8.2f}{wall[name]:8.2f}{len(rounds[0]) / wall[name]:12.1f}"
            f"{len(rounds[0]) / cpu[name]:16.1f}"
        )
    alone, static, together = ways
    for what, took in (("CPU", cpu), ("wall", wall)):
        ratios = took[alone] / took[together], took[static] / took[together]
        print(f"{what}: {CLIENTS} clients {ratios[0]:.2f} times one at a time, {ratios[1]:.2f} times static batches")
    return len(rounds[0]) / wall[together]


def restart(
    begin: Callable[[int], Server], server: Server, asked: Sequence[Asked], offline: Sequence[Any], count: int
) -> Server:
    """Print what became of `count` requests during which the server ended and began again -> the new one."""
    done, began = threading.Semaphore(0), time.perf_counter()
    kinds = [n % len(asked) for n in range(count)]

    def answered(client: Client, n: int) -> dict[str, Any]:
        try:
            return ask(client, asked[n])
        finally:
            done.release()

    with Client(server.url, patience=3600) as client, ThreadPoolExecutor(CLIENTS) as threads:
        found = [threads.submit(answered, client, n) for n in kinds]
        for _ in range(count // 3):
            done.acquire()
        code = server.end()
        again = begin(server.port)
        errors = [one.exception() for one in found]
    lost = sum(error is not None for error in errors)
    other = sum(e is None and one.result() != offline[n] for e, one, n in zip(errors, found, kinds, strict=True))
    print(
        f"{count:,} requests through SIGTERM and a new start, {time.perf_counter() - began:.0f} s: {lost} lost, "
        f"{other} answered otherwise than offline; exit status {code}",
        flush=True,
    )
    return again


def steady(server: Server, asked: Sequence[Asked], minutes: float) -> None:
    """Print the memory of the server while 32 clients ask."""
    end, ways, lock = time.monotonic() + 60 * minutes, cycle(asked), threading.Lock()
    count = 0

    def work(client: Client) -> None:
        nonlocal count
        while time.monotonic() < end:
            with lock:
                one = next(ways)
                count += 1
            ask(client, one)

    with Client(server.url, patience=600) as client, ThreadPoolExecutor(CLIENTS) as threads:
        for _ in range(CLIENTS):
            threads.submit(work, client)
        held = []
        while time.monotonic() < end:
            time.sleep(min(30.0, max(0.1, end - time.monotonic())))
            held.append(server.memory())
    shown = " ".join(f"{one:.0f}" for one in held)
    print(f"{minutes:g} minutes, {count:,} requests: MiB of the server, every 30 s: {shown}", flush=True)


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lengths", choices=LENGTHS, default="even", help="as of benchmarks.session")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--pieces", type=int, default=50_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--restart", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--tiny", action="store_true", help="a model of width 32, for many requests")
    parser.add_argument("--open", type=int, default=300, help="requests of an open loop")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    torch.set_num_threads(args.threads)
    model, draw = made_model(args.pieces, TINY if args.tiny else CONFIG)
    length = LENGTHS[args.lengths]
    asked = requests(draw, args.requests, length)
    model.model.decode_in(args.precision)
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {args.threads} threads, "
        f"{model.model.head.shape[0]:,} tokens, {args.requests} requests of {args.lengths} lengths, "
        f"{args.rounds} rounds, {args.precision}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "model")
        model.save_pretrained(folder)
        begin = partial(Server.begin, folder, args.precision)
        server = begin()
        try:
            found = closed_loop(server.url, asked, CLIENTS)
            offline = [dict(model.inference(one.line, {"a": one.text}, **one.all_options)) for one in asked]
            equal = sum(one == other for one, other in zip(found, offline, strict=True))
            print(f"{equal} of {len(asked)} answers as offline", flush=True)
            rounds = [requests(draw, args.requests, length) for _ in range(args.rounds + 1)]
            rate = throughput(server, model, rounds) if args.rounds else 0.0
            for share in SHARES if args.open and rate else ():
                many = requests(draw, args.open, length)
                took = open_loop(server.url, many, share * rate, seed=int(100 * share))
                print(f"open loop, {share * rate:.1f} requests/s: {percentiles(took)}", flush=True)
            if args.restart:
                server = restart(begin, server, asked, offline, args.restart)
            if args.minutes:
                steady(server, asked, args.minutes)
        finally:
            server.end()


if __name__ == "__main__":
    main()
