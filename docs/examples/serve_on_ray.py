"""A trained model behind Ray Serve: replicas on several machines, each with a session of its own, one address.

python serve_on_ray.py runs/first --replicas 4      # on a machine of the cluster; RAY_ADDRESS says which
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from ray import serve

MOST = 256  # requests in hand at a replica, beyond which Ray asks another


def replica(folder: str, keys: Sequence[str]) -> Callable[[], FastAPI]:
    """What each replica runs: the same application as `ofasys serve`, made where it will answer."""

    def made() -> FastAPI:
        from ofasys.hub import OFASys
        from ofasys.serve.app import create_app
        from ofasys.serve.service import Service

        return create_app(Service(OFASys.from_pretrained(folder), name=folder), keys)

    return made


def application(folder: str, replicas: int = 2, keys: Sequence[str] = ()) -> Any:
    """For `serve.run`. folder: one that every machine of the cluster can read."""
    answers = serve.ingress(replica(folder, keys))()
    deployment = serve.deployment(
        answers,
        name="answers",
        num_replicas=replicas,
        max_ongoing_requests=MOST,
        health_check_period_s=5,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=30,
    )
    return deployment.bind()


def main() -> None:
    """Serve until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    serve.start(http_options={"host": "127.0.0.1", "port": args.port})
    serve.run(application(args.folder, args.replicas), name="ofasys", route_prefix="/", blocking=True)


if __name__ == "__main__":
    main()
