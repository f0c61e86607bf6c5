"""A tiny model of many modalities behind the endpoints, asked within this process."""

import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ofasys.generalist import GeneralistModel
from ofasys.hub import OFASys
from ofasys.planner import plan
from ofasys.serve.app import create_app
from ofasys.serve.limits import Limits
from ofasys.serve.service import Service
from ofasys.types import TaskCard

sys.path.insert(0, str(Path(__file__).parent))

from media import gif, png, wav

LINES = {
    "caption": "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
    "entail": "can text1 [TEXT:sent1] imply text2 [TEXT:sent2]? -> [TEXT:label,closed_set]",
    "detect": "[IMAGE:img] detect the objects in the image. -> ([BOX:box] [TEXT:name])*",
    "ground": '[IMAGE:img] which region does the text " [TEXT:phrase] " describe? -> [BOX:box]',
    "region": "[IMAGE:img] what does the region describe? region: [BOX:box] -> [TEXT:cap]",
    "listen": "[AUDIO:sound] what is said? -> [TEXT:said]",
    "watch": "[VIDEO:clip,frames=2,size=32] what happens? -> [TEXT:cap]",
    "table": "[STRUCT:table] what is it about? -> [TEXT:about]",
    "speak": "[TEXT:t] say it -> [AUDIO:sound,max_positions=4,vocoder_steps=1]",
    "many": "([IMAGE:pictures])* say -> [TEXT:cap]",
    "match": "[IMAGE:img|TEXT:cap] ->",
}
SETTINGS = {"IMAGE.size": 32}
LABELS = {"label": ("yes", "no", "not sure")}
LIMITS = Limits(body=4_000_000, pixels=1_000_000, seconds=10.0, tokens=64, cells=5000, decoders=1, deadline=30.0)


def card(name):
    settings = SETTINGS if "IMAGE" in LINES[name] else {}
    return TaskCard(
        name,
        (LINES[name],),
        settings=settings,
        labels={column: names for column, names in LABELS.items() if f":{column}" in LINES[name]},
        generate={} if name in ("match", "speak") else {"max_length": 6},
        metrics=("exact_match",),
    )


@pytest.fixture(scope="session")
def answerer(tiny):
    model = GeneralistModel(config=tiny.CONFIG, seed=0)
    model.tokenizer = tiny.tokenizer()
    plans = [plan(line, settings=SETTINGS if "IMAGE" in line else None) for line in LINES.values()]
    model.grow([(one, LABELS) for one in plans], lambda: [])
    for parameter in model.engine.parameters():
        if parameter.dim() > 1:
            parameter.data *= 3  # so that its answers differ
    return OFASys(model.eval(), [card(name) for name in LINES])


@pytest.fixture(scope="session")
def service(answerer):
    made = Service(answerer, limits=LIMITS, name="tiny", examples={"entail": [{"sent1": "a cat", "sent2": "dog"}]})
    yield made
    made.close(drain=False)


@pytest.fixture(scope="session")
def http(service):
    with TestClient(create_app(service)) as client:
        yield client


@pytest.fixture(scope="session")
def ask(http):
    """Asks `/v1/inference` -> (status, JSON)."""

    def asked(**request):
        response = http.post("/v1/inference", json=request)
        return response.status_code, response.json()

    return asked


@pytest.fixture(scope="session")
def files(tiny):
    """A file of each kind."""
    return {
        "img": png(tiny.picture()),
        "jpg": png(tiny.picture(), "JPEG"),
        "sound": wav(),
        "clip": gif([tiny.picture(32, 32, seed) for seed in range(3)]),
        "table": b"name,age\nAnn,3\nBob,4\n",
    }
