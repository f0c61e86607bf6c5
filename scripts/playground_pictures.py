"""The pictures of docs/playground.md: a run of all kinds is trained, served, and looked at in chromium.

python scripts/playground_pictures.py           # about ten minutes; docs/images/playground-*.png are written anew
python scripts/playground_pictures.py FOLDER    # of the run that FOLDER holds already, as runs/first
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PORT = 8321
STEPS = 9000
WIDE, PHONE = {"width": 1240, "height": 800}, {"width": 390, "height": 844}


def trained(folder: Path) -> None:
    """A run in `folder/runs/first`, good enough that its answers are worth a picture."""
    sys.path.insert(0, str(ROOT / "tests"))
    import all_kinds

    all_kinds.SETTINGS["detect"] = {"IMAGE.size": 48, "IMAGE.patch": 8}
    shape = {"width": 64, "heads": 4, "ffn": 128, "encoder_layers": 2, "decoder_layers": 2}
    made = all_kinds.train_run(all_kinds.write_run_file(folder / "runs", STEPS, count=64, **shape))
    made.rename(made.with_name("first"))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of the run."""
    start = "import sys; from ofasys.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "serve", "runs/first", "--port", str(PORT)]
    server = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    address = f"http://127.0.0.1:{PORT}/"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}readyz")
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def asked(page: Any, task: str, example: int) -> None:
    """An example of a task, and its answer."""
    page.click(f"#task-list button:text-is('{task}')")
    page.locator("#example-list button").nth(example).click()
    page.locator("#example-list button[aria-pressed=true]").wait_for()
    page.click("#send")
    page.wait_for_selector("#answer-state:has-text('Answered')")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(400)


def pictures(address: str, out: Path) -> None:
    """Write them."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    def shot(page: Any, name: str, **how: Any) -> None:
        path = out / f"playground-{name}.png"
        page.screenshot(path=path, **how)
        Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(viewport=WIDE, color_scheme="light").new_page()
        page.goto(address)
        page.locator("#task-list button").first.wait_for()
        page.fill("#instruction", "[IMGAE:img] what does the image describe? -> [TEXT:cap]")
        page.locator("#problem .error").wait_for()
        shot(page, "error", clip={"x": 0, "y": 0, "width": 760, "height": 590})
        page.fill("#instruction", "")
        page.locator("#instruction").press_sequentially("[IMAGE:img] which [BOX:b,")
        page.keyboard.press("ArrowDown")
        shot(page, "completion", clip={"x": 0, "y": 0, "width": 760, "height": 610})
        asked(page, "detect", 3)
        asked(page, "detect", 1)  # what reads files has begun by now
        shot(page, "boxes", full_page=True)
        asked(page, "query", 1)
        shot(page, "table", full_page=True)
        phone = browser.new_context(viewport=PHONE, color_scheme="dark", has_touch=True, is_mobile=True).new_page()
        phone.goto(address)
        asked(phone, "move", 0)
        phone.locator("#form").scroll_into_view_if_needed()
        phone.evaluate("document.querySelector('#form').scrollIntoView()")
        shot(phone, "phone")
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made)
        if not (place / "runs" / "first").exists():
            trained(place)
        with served(place) as url:
            pictures(url, ROOT / "docs" / "images")
