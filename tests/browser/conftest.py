"""A server of a small run of all kinds, and a real browser that looks at its page."""

import os
import shutil
import threading
import time
from contextlib import contextmanager

import pytest

WHOLE = os.environ.get("OFASYS_BROWSER") == "1"
FLAGS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",  # a camera and a microphone that are always there
    "--use-fake-ui-for-media-stream",
]


def lacking():
    """Why there is no browser; None where there is one."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed; `make test-browser` installs it"
    return None if shutil.which("chromium") else "there is no chromium; install it, as by `apt-get install chromium`"


def pytest_collection_modifyitems(items):
    """All of it by `make test-browser`; of other runs the way through the page alone, where there is a browser."""
    why = lacking()
    for item in items:
        if "browser" not in item.path.parts or "server" not in getattr(item, "fixturenames", ()):
            continue
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=why))
        elif not WHOLE and item.get_closest_marker("always") is None:
            item.add_marker(pytest.mark.skip(reason="of `make test-browser` (OFASYS_BROWSER=1)"))


def pytest_configure(config):
    config.addinivalue_line("markers", "always: of a browser, and run without OFASYS_BROWSER=1 too")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of a run that learned a little of every kind; of the two that the one way through the page needs."""
    import all_kinds

    less = {} if WHOLE else {"count": 4, "only": ("caption", "ground")}
    folder = tmp_path_factory.mktemp("kinds")
    return all_kinds.train_run(all_kinds.write_run_file(folder, steps=33 if WHOLE else 4, **less))


@pytest.fixture(scope="session")
def answerer(run):
    from ofasys.hub import OFASys

    return OFASys.from_pretrained(run)


@pytest.fixture(scope="session")
def serving():
    """Serves an application on a port of its own, in a `with`."""
    return served_at


@contextmanager
def served_at(app):
    """The address of an application that is served on a port of its own."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it began"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def served(run, answerer):
    """What the application is made of."""
    from ofasys.cli.runfile import read_run
    from ofasys.hub.examples import examples
    from ofasys.serve.service import Service

    service = Service(answerer, name=str(run), examples=examples(read_run(run / "run.yaml").tasks()))
    yield service
    service.close()


@pytest.fixture(scope="session")
def server(served):
    from ofasys.serve.app import create_app

    with served_at(create_app(served)) as address:
        yield address


@pytest.fixture(scope="module")  # its event loop runs in this thread until it ends: other tests have loops of their own
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, server):
    """Opens the page in a context of its own; at the end nothing may have gone wrong, or been asked of others."""
    contexts, wrong, allowed = [], [], []

    def open_page(address=server, **how):
        allowed.append(address)
        context = chromium.new_context(**how)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda request: wrong.append(request.url) if not is_own(request.url, allowed) else None)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def is_own(url, addresses):
    return url.startswith((*addresses, "data:", "blob:"))


@pytest.fixture
def page(opened):
    found = opened()
    found.wait_for_selector("#task-list button")
    return found
