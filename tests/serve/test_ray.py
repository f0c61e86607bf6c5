"""The example on Ray Serve: replicas answer as one model does."""

import socket
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ofasys.client import Client

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
lacking = [name for name in ("ray", "grpc_reflection") if find_spec(name) is None]


@pytest.mark.slow
@pytest.mark.skipif(bool(lacking), reason=f'needs pip install "ray[serve]": {", ".join(lacking)} is not there')
def test_replicas_answer_as_one_model_does(answerer, files, tmp_path, monkeypatch):
    import ray
    from ray import serve

    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "0")
    from serve_on_ray import application

    answerer.save_pretrained(tmp_path / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = {"env_vars": {"PYTHONPATH": ":".join([str(EXAMPLES), *sys.path])}}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env=paths, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(application(str(tmp_path / "model")), name="ofasys", route_prefix="/")
        line = answerer.tasks["caption"].instructions[0]
        data = {"img": files["img"]}
        with Client(f"http://127.0.0.1:{port}") as client:
            found = [dict(client.infer(line, data, max_length=6)) for _ in range(4)]
            streamed = [event.value for event in client.stream(line, data, max_length=6)][-1]
        assert found == [dict(answerer.inference(line, data, max_length=6))] * 4
        assert dict(streamed) == found[0]
    finally:
        serve.shutdown()
        ray.shutdown()
