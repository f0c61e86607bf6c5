"""A person types an instruction, fills its slots and sees the answer, in a real browser."""

import json
import os
import re
import shlex
import subprocess
from base64 import b64encode
from pathlib import Path

import all_kinds
import numpy as np
import pytest

pytest.importorskip("playwright", reason="`make test-browser` installs it")
from playwright.sync_api import expect

expect.set_options(timeout=20_000)
CAPTION = all_kinds.LINES["caption"]
GROUND = all_kinds.LINES["ground"]
HINTS = "([TEXT:hint])* which colour? -> [CATEGORY:colour]"


def write(page, text):
    """An instruction, once it is checked."""
    page.fill("#instruction", text)
    expect(page.locator("#send")).to_be_enabled()


def drop(page, column, path, kind="image/png", name=None):
    """A file, dropped on the widget of a column."""
    data = b64encode(Path(path).read_bytes()).decode()
    page.locator(f"fieldset:has(legend:text-matches('^{column}')) .drop").evaluate(
        """(node, [data, name, type]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)), carried = new DataTransfer();
            carried.items.add(new File([bytes], name, { type }));
            for (const step of ["dragover", "drop"])
                node.dispatchEvent(new DragEvent(step, { dataTransfer: carried, bubbles: true, cancelable: true }));
        }""",
        [data, name or Path(path).name, kind],
    )


def answer(page):
    """Ask, and wait for the answer."""
    page.click("#send")
    return answered(page)


def answered(page):
    expect(page.locator("#answer-state")).to_contain_text("Answered")
    return page.locator("#answer-body")


def task(page, name, example=0):
    """Click a task of the run, then one of its examples."""
    page.click(f"#task-list button:text-is('{name}')")
    expect(page.locator("#instruction")).to_have_value(canonical(name))
    page.locator("#example-list button").nth(example).click()
    expect(page.locator("#example-list button").nth(example)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#send")).to_be_enabled()


def canonical(name):
    from ofasys.language import Instruction

    return str(Instruction(all_kinds.LINES[name]))


def assert_same_text(shown, value):
    """A page shows blanks as it likes, and says of an empty text that it is one."""
    assert shown.split() == (value.split() or ["(an", "empty", "text)"])


def seconds_of(player):
    """How long a player plays."""
    return player.evaluate(
        """(node) => new Promise((done, failed) => {
            if (node.duration) done(node.duration);
            node.onloadedmetadata = () => done(node.duration);
            node.onerror = () => failed(node.error);
        })"""
    )


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


# --- the way through the page -----------------------------------------------------------------------------------------


@pytest.mark.always
def test_a_wrong_instruction_is_mended_and_a_picture_gets_a_caption_and_a_box(page, run, answerer):
    picture = run.parent / "data" / "picture-0.png"
    page.fill("#instruction", CAPTION.replace("IMAGE", "IMGAE"))
    problem = page.locator("#problem .error")
    problem.wait_for()
    text, caret = problem.locator("pre").inner_text().split("\n")
    assert text[caret.index("^") : caret.rindex("^") + 1] == "IMGAE"
    assert "unknown modality 'IMGAE'" in problem.inner_text()
    assert page.locator("#mirror mark").inner_text() == "IMGAE"
    assert page.locator("#instruction").get_attribute("aria-invalid") == "true"
    problem.get_by_role("button", name="Put IMAGE").click()
    expect(page.locator("#send")).to_be_enabled()
    assert page.input_value("#instruction") == CAPTION
    assert page.locator("#problem .error").count() == 0
    assert "preprocess  pixels: resized RGB" in page.locator("#plan").inner_text()
    drop(page, "img", picture)
    page.wait_for_selector(".stage img")
    said = answer(page).locator(".text, .muted").first.inner_text()
    expected = answerer.inference(CAPTION, data={"img": str(picture)})["cap"]
    assert_same_text(said, expected)
    write(page, GROUND)
    assert page.locator(".drop .name").inner_text().startswith("picture-0.png")  # the picture stays for the new line
    page.get_by_label("phrase").fill("red circle")
    body = answer(page)
    box = answerer.inference(GROUND, data={"img": str(picture), "phrase": "red circle"})["box"]
    assert numbers(body.locator(".boxes li").inner_text()) == pytest.approx(list(box), abs=0.051)
    rect = [float(body.locator("rect").get_attribute(name)) for name in ("x", "y", "width", "height")]
    x1, y1, x2, y2 = box
    assert rect == pytest.approx([x1, y1, max(0, x2 - x1), max(0, y2 - y1)], abs=1e-3)
    assert body.locator("img").evaluate("(node) => [node.naturalWidth, node.naturalHeight]") == [96, 72]


@pytest.mark.parametrize("name", list(all_kinds.LINES))
def test_an_example_of_each_task_is_one_click_and_is_answered_as_offline(page, run, answerer, name):
    task(page, name)
    body = answer(page)
    rows = [json.loads(line) for line in (run.parent / "data" / f"{name}.jsonl").read_text().splitlines()]
    offline = answerer.inference(all_kinds.LINES[name], data=rows[0], root=run.parent / "data")
    assert set(offline) == {head.split(" · ")[0] for head in body.locator("h3").all_inner_texts()}
    for column, value in offline.items():
        shown = body.locator(f".value:has(h3:text-matches('^{column} ·'))")
        if isinstance(value, str):
            assert_same_text(shown.locator("p").inner_text(), value)
        elif isinstance(value, float):
            assert numbers(shown.locator("p").inner_text())[0] == pytest.approx(value, rel=1e-5)


# --- the instruction --------------------------------------------------------------------------------------------------


def test_what_is_typed_is_completed_by_keyboard(page):
    line, options = page.locator("#instruction"), page.locator("#completions li")
    line.press_sequentially("[")
    options.first.wait_for()
    offered = set(page.locator("#completions li b").all_inner_texts())
    assert {"TEXT", "IMAGE", "AUDIO", "STRUCT"} <= offered
    line.press_sequentially("im")
    line.press("ArrowDown")
    assert line.get_attribute("aria-activedescendant") == "completion-0"
    assert options.first.get_attribute("aria-selected") == "true"
    line.press("Enter")
    assert line.input_value() == "[IMAGE:"
    assert page.locator("#completions li b").all_inner_texts() == ["img"]  # a column of the tasks
    line.press("ArrowDown")
    line.press("Tab")
    line.press_sequentially(",prep")
    line.press("ArrowDown")
    line.press("Enter")
    assert line.input_value() == "[IMAGE:img,preprocess="
    line.press_sequentially("pixels] what? -> [TEXT:cap,clos")
    assert page.locator("#completions li b").all_inner_texts() == ["closed_set"]
    line.press("Escape")
    assert page.locator("#popup").is_hidden()
    line.press_sequentially("ed_set")
    assert page.evaluate("document.activeElement.id") == "instruction"


@pytest.mark.parametrize(("typed", "there"), [("[TEXT:a,", {"mask_ratio"}), ("[TEXT:a] -> [TEXT:b,", {"no_loss"})])
def test_attributes_are_those_of_the_side(page, typed, there):
    line, offered = page.locator("#instruction"), set()
    for letters in ("no_", "mas"):
        page.fill("#instruction", "")
        line.press_sequentially(typed + letters)
        offered |= set(page.locator("#completions li b").all_inner_texts())
    assert offered & {"mask_ratio", "no_loss"} == there


def test_completions_that_do_not_fit_are_gone_through(page):
    line = page.locator("#instruction")
    line.press_sequentially("[TEXT:a,")
    count = int(re.search(r"of (\d+)", page.locator("#more").inner_text())[1])
    seen = []
    for _ in range(count):
        line.press("ArrowDown")
        seen += page.locator("#completions [aria-selected=true] b").all_inner_texts()
    assert page.locator("#completions li").count() == 8
    assert len(set(seen)) == count > 8
    line.press("ArrowDown")  # from the last to the first
    assert page.locator("#completions [aria-selected=true] b").all_inner_texts() == seen[:1]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[TEXT:a,weigth=2] -> [TEXT:b]", "weigth"),
        ("[TEXT:a] [TEXT:b]", None),
        ("𝔘𝔫 café [TXT:a] -> [TEXT:b]", "TXT"),  # characters of two code units lie before the place
        ("[TEXT:a,weight=heavy] -> [TEXT:b]", "heavy"),
    ],
)
def test_an_error_is_marked_where_it_is(page, text, place):
    page.fill("#instruction", text)
    page.wait_for_selector("#problem .error")
    assert page.locator("#send").is_disabled()
    if place is not None:
        assert page.locator("#mirror mark").inner_text() == place
    assert page.locator("#mirror").inner_text().strip() in ("", text)


def test_what_this_model_cannot_answer_is_planned_and_said(page):
    page.fill("#instruction", "[PHONE:sounds] -> [TEXT:word]")
    page.wait_for_selector("#plan div")
    assert page.locator("#send").is_disabled()
    assert "cannot answer" in page.locator("#problem").inner_text()


def test_the_last_thing_typed_is_what_is_shown(page):
    """A check that comes late changes nothing."""
    held = []
    page.route("**/v1/explain", lambda route: held.append(route) if not held else route.continue_())
    page.fill("#instruction", "[TEXT:a] -> [TEXT:first]")
    page.wait_for_timeout(400)
    page.fill("#instruction", "[TEXT:a] -> [TEXT:second]")
    expect(page.locator("#plan")).to_contain_text("second")
    held[0].continue_()
    page.wait_for_load_state("networkidle")
    assert "first" not in page.locator("#plan").inner_text()


def test_the_address_keeps_the_instruction(page):
    write(page, GROUND)
    page.reload()
    expect(page.locator("#instruction")).to_have_value(GROUND)
    expect(page.get_by_label("phrase")).to_be_visible()


def test_control_and_enter_answer_what_was_just_typed(page):
    write(page, "[TEXT:word] say -> [TEXT:heard]")
    page.get_by_label("word").fill("a beep")
    asked = []
    page.on("request", lambda request: asked.append(request.post_data) if "stream" in request.url else None)
    page.locator("#instruction").press("End")
    page.locator("#instruction").press_sequentially(" [TEXT:more]")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer-body h3")).to_have_count(2)
    assert "[TEXT:more]" in asked[0]


# --- the slots --------------------------------------------------------------------------------------------------------


def test_sound_goes_in_as_a_file_and_from_the_microphone(page, run, answerer):
    write(page, all_kinds.LINES["hear"])
    sound = run.parent / "data" / "high.wav"
    page.set_input_files("fieldset input[type=file]", sound)
    assert seconds_of(page.locator("fieldset audio")) == pytest.approx(0.4, abs=0.01)
    said = answer(page).locator("p").last.inner_text()
    assert_same_text(said, answerer.inference(all_kinds.LINES["hear"], data={"sound": str(sound)})["heard"])
    page.get_by_role("button", name="Record").click()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Stop recording").click()
    page.wait_for_selector(".drop .name:text-matches('^recording.wav')")
    answer(page)


def test_sound_comes_out(page, answerer):
    write(page, all_kinds.LINES["say"])
    page.get_by_label("word").fill("a high beep")
    player = answer(page).locator("audio")
    sound = answerer.inference(all_kinds.LINES["say"], data={"word": "a high beep"})["sound"]
    assert seconds_of(player) == pytest.approx(sound.seconds, abs=0.01)


def test_a_table_is_typed_and_pasted_and_sql_comes_out(page, answerer):
    write(page, all_kinds.LINES["query"])
    cells = page.locator(".cells input")
    for i, text in enumerate(["city", "people", "Oslo", "709000"]):
        cells.nth(i).fill(text)
    page.get_by_label("question").fill("all city")
    said = answer(page).locator("p").last.inner_text()
    table = [["city", "people"], ["Oslo", 709000]]
    expected = answerer.inference(all_kinds.LINES["query"], data={"table": table, "question": "all city"})["sql"]
    assert_same_text(said, expected)
    cells.first.evaluate(
        """(node, text) => {
            const carried = new DataTransfer();
            carried.setData("text", text);
            const event = new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true });
            node.dispatchEvent(event);
        }""",
        'name\tcity\n"a ""b"""\tOslo\n',
    )
    assert [cell.input_value() for cell in page.locator(".cells input").all()] == ["name", "city", 'a "b"', "Oslo"]
    page.get_by_role("button", name="Add a column").click()
    page.get_by_role("button", name="Add a row").click()
    assert page.locator(".cells input").count() == 9


def test_a_box_is_drawn_by_mouse_and_typed(page, run):
    write(page, all_kinds.LINES["region"])
    drop(page, "img", run.parent / "data" / "picture-0.png")
    frame = page.locator(".stage svg").bounding_box()
    at = lambda x, y: (frame["x"] + frame["width"] * x / 96, frame["y"] + frame["height"] * y / 72)  # noqa: E731
    page.mouse.move(*at(48, 36))
    page.mouse.down()
    page.mouse.move(*at(12, 9), steps=3)
    page.mouse.up()
    corners = page.locator(".corners input")
    assert [float(one.input_value()) for one in corners.all()] == pytest.approx([12, 9, 48, 36], abs=0.5)
    corners.nth(2).fill("90")
    rect = page.locator(".stage rect")
    assert float(rect.get_attribute("x")) + float(rect.get_attribute("width")) == pytest.approx(90)
    write(page, CAPTION)
    assert page.locator(".stage rect").count() == 0


def test_a_list_has_as_many_values_as_one_adds(page):
    write(page, HINTS)
    for text in ("blue", "not red", "a square"):
        page.get_by_role("button", name="Add one").click()
        page.locator(".each textarea").last.fill(text)
    page.locator(".each").nth(1).get_by_role("button", name="Remove").click()
    asked = []
    page.on("request", lambda request: asked.append(request.post_data) if "stream" in request.url else None)
    answer(page)
    assert json.loads(re.search(r"\{.*\}", asked[0])[0])["data"] == {"hint": ["blue", "a square"]}


def test_a_file_dropped_beside_a_slot_leaves_all_as_it_is(page):
    write(page, CAPTION)
    stays = page.evaluate(
        """() => {
            const carried = new DataTransfer();
            carried.items.add(new File(["x"], "x.png"));
            const event = new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
            return !document.body.dispatchEvent(event);
        }"""
    )
    assert stays
    assert page.locator(".drop .name").inner_text() == ""


def test_a_label_whose_set_is_not_known_is_typed(page):
    page.fill("#instruction", "[CATEGORY:shade] what? -> [PHONE:x]")
    expect(page.get_by_label("shade")).to_be_visible()
    assert page.get_by_label("shade").evaluate("(node) => node.tagName") == "TEXTAREA"


def test_the_camera_takes_a_picture(page):
    write(page, CAPTION)
    page.get_by_role("button", name="Camera").click()
    page.get_by_role("button", name="Take the picture").click()
    page.wait_for_selector(".drop .name:text-matches('^camera.png')")
    assert page.locator(".drop video").count() == 0
    answer(page)


@pytest.mark.parametrize(
    ("name", "column", "data", "kind"),
    [
        ("caption", "img", b"no picture", "image/png"),
        ("hear", "sound", b"RIFF0000WAVE", "audio/wav"),
        ("watch", "clip", b"GIF89a", "image/gif"),
    ],
)
def test_a_wrong_file_is_told_at_its_slot_and_another_can_be_given(page, run, tmp_path, name, column, data, kind):
    wrong = tmp_path / f"wrong.{kind.split('/')[1]}"
    wrong.write_bytes(data)
    write(page, all_kinds.LINES[name])
    drop(page, column, wrong, kind)
    page.click("#send")
    error = page.locator(f"fieldset:has(legend:text-matches('^{column}')) .error")
    error.wait_for()
    assert error.get_attribute("role") == "alert"
    assert page.locator("#answer").is_hidden()
    good = next((run.parent / "data").glob({"caption": "*.png", "hear": "*.wav", "watch": "*.gif"}[name]))
    drop(page, column, good, kind)
    answer(page)
    assert page.locator(".error").count() == 0


def test_an_empty_slot_is_asked_for(page):
    write(page, GROUND)
    page.click("#send")
    page.wait_for_selector(".field .error:has-text('img is empty')")
    assert page.evaluate("document.activeElement.type") == "file"


# --- the answer -------------------------------------------------------------------------------------------------------


def test_a_skeleton_moves_as_the_motion_does(page, run, answerer):
    task(page, "move")
    body = answer(page)
    motion = answerer.inference(all_kinds.LINES["move"], data={"name": "wave"})["motion"]
    made = page.evaluate(
        """async ({ skeleton, values }) => {
            const { places } = await import("/playground/widgets.js");
            return values.map((frame) => places(skeleton, frame));
        }""",
        motion.to_dict(),
    )
    joints = np.array([frame[: len(motion.skeleton)] for frame in made])
    np.testing.assert_allclose(joints, motion.positions, atol=1e-6)
    body.get_by_role("button", name="Pause").click()
    picture = "(node) => node.toDataURL()"
    body.get_by_role("slider", name="Frame").fill("0")
    first = body.locator("canvas").evaluate(picture)
    body.get_by_role("slider", name="Turn").fill("90")
    assert body.locator("canvas").evaluate(picture) != first


def test_text_comes_piece_by_piece_and_is_text(page):
    """What arrives in parts, cut anywhere, is put together; and no answer is taken for HTML."""
    evil = "<img src=x onerror=alert(1)> a < b"
    done = {"answers": [{"b": evil}], "scores": [-1.0], "probabilities": [None], "nbest": None, "errors": []}
    pieces = [json.dumps({"column": "b", "value": piece}) for piece in ("one ", "two")]
    sent = "".join(f"event: text\r\ndata: {piece}\r\n\r\n" for piece in pieces)
    page.evaluate(
        """() => {
            const real = window.fetch;
            const start = (pipe) => {
                window.more = (text) => pipe.enqueue(new TextEncoder().encode(text));
                window.end = () => pipe.close();
            };
            const answer = () => Promise.resolve(new Response(new ReadableStream({ start })));
            window.fetch = (path, how) => (String(path).includes("stream") ? answer() : real(path, how));
        }"""
    )
    write(page, "[TEXT:a] -> [TEXT:b]")
    page.get_by_label(re.compile("^a ?TEXT")).fill("x")
    page.click("#send")
    expect(page.locator("#stop")).to_be_visible()
    for i in range(0, len(sent), 7):
        page.evaluate("(text) => window.more(text)", sent[i : i + 7])
    expect(page.locator(".partial .text")).to_have_text("one two")
    page.evaluate("(text) => window.more(text)", f"event: slot\ndata: {json.dumps({'column': 'b', 'value': evil})}\n\n")
    expect(page.locator("#answer-body .text")).to_have_text(evil)
    assert page.locator("#answer-body .partial, #answer-body img").count() == 0
    page.evaluate("(text) => { window.more(text); window.end(); }", f"event: done\ndata: {json.dumps(done)}\n\n")
    body = answered(page)
    assert body.locator(".text").inner_text() == evil
    assert body.locator("img").count() == 0


def test_several_answers_stand_with_their_scores(page, answerer):
    task(page, "colour")
    page.fill("#options", "beam_size=3 n_best=3")
    body = answer(page)
    assert body.locator(".one").count() == 3
    assert "1 of 3, score" in body.inner_text()


def test_all_labels_have_bars_where_their_probabilities_are_asked_for(page, answerer):
    task(page, "colour")
    page.fill("#options", "scores")
    shares = answer(page).locator(".bars span").all_inner_texts()
    assert set(shares[::2]) == set(all_kinds.COLOURS)
    assert sum(float(share.rstrip("%")) for share in shares[1::2]) == pytest.approx(100, abs=0.21)


def test_an_answer_that_is_not_wanted_any_more_is_stopped(page):
    held = []
    page.route("**/v1/inference/stream", lambda route: held.append(route))
    task(page, "colour")
    page.click("#send")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("#answer-body .error:has-text('stopped')")
    page.unroute("**/v1/inference/stream")
    answer(page)
    assert len(held) == 1


def test_an_option_that_is_none_is_refused_in_words(page):
    task(page, "colour")
    page.fill("#options", "beams=3")
    page.click("#send")
    page.wait_for_selector("#answer-body .error")
    assert "beam_size" in page.locator("#answer-body .error").inner_text()


def test_a_server_that_is_gone_is_told(page):
    task(page, "colour")
    page.route("**/v1/inference/stream", lambda route: route.abort())
    page.click("#send")
    page.wait_for_selector("#answer-body .error:has-text('does not answer')")


# --- the same as code -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["caption", "query"])
def test_what_is_copied_runs_and_gives_the_same_answer(page, run, answerer, name, tmp_path, monkeypatch, capsys):
    from typer.testing import CliRunner

    from ofasys.cli.main import app

    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in (run.parent / "data" / f"{name}.jsonl").read_text().splitlines()]
    expected = str(answerer.inference(all_kinds.LINES[name], data=rows[0], root=run.parent / "data"))
    task(page, name)
    if name == "caption":
        page.wait_for_selector(".drop .name:text-matches('img.png')")
        (tmp_path / "img.png").write_bytes((run.parent / "data" / rows[0]["img"]).read_bytes())
    exec(page.locator("#code").inner_text(), {})
    assert capsys.readouterr().out.rstrip("\n") == expected
    page.get_by_role("button", name="Command line").click()
    words = shlex.split(page.locator("#code").inner_text().replace("\\\n", " "))
    shell = CliRunner().invoke(app, words[1:])
    assert shell.exit_code == 0, shell.output
    assert shell.output.rstrip("\n") == expected
    page.get_by_role("button", name="curl").click()
    told = subprocess.run(["bash", "-c", page.locator("#code").inner_text()], capture_output=True, check=True).stdout
    (values,) = json.loads(told)["answers"]
    assert values == dict(answerer.inference(all_kinds.LINES[name], data=rows[0], root=run.parent / "data"))


def test_it_is_copied(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.wait_for_selector("#task-list button")
    task(page, "colour")
    page.get_by_role("button", name="Copy").click()
    page.wait_for_selector("#copied:text-matches('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#code").evaluate(
        "(node) => node.textContent"
    )


# --- for everybody ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious(opened, run, scheme, width):
    axe = os.environ.get("OFASYS_AXE")
    if not axe:
        pytest.skip("OFASYS_AXE names no axe.min.js; `make test-browser` fetches it")
    page = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.wait_for_selector("#task-list button")

    def check(where):
        page.evaluate(Path(axe).read_text(encoding="utf8"))
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
        told = [(one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]]) for one in found]
        assert [one for one in told if one[1] in ("serious", "critical", "moderate")] == [], where
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{where}: wider than the window"

    check("the beginning")
    page.fill("#instruction", "[IMGAE:img] -> [TEXT:cap]")
    page.wait_for_selector("#problem .error")
    check("an error")
    page.fill("#instruction", "")
    page.locator("#instruction").press_sequentially("[")
    page.locator("#completions li").first.wait_for()
    page.locator("#instruction").press("ArrowDown")
    check("completions")
    for name in ("detect", "region", "hear", "say", "query", "move", "price"):
        task(page, name)
        answer(page)
        check(name)
    write(page, HINTS)
    page.get_by_role("button", name="Add one").click()
    check("a list")


def test_all_of_it_is_done_by_keyboard(page):
    """From the instruction to the answer without a mouse."""
    page.focus("#instruction")
    page.keyboard.insert_text("[TEXT:word] say -> [TEXT:heard]")
    expect(page.locator("#send")).to_be_enabled()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    page.keyboard.insert_text("a beep")
    assert page.locator("textarea").last.input_value() == "a beep"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "send"
    page.keyboard.press("Enter")
    answered(page)


def test_a_key_is_asked_for_where_the_server_wants_one(opened, served, serving):
    from ofasys.serve.app import create_app

    with serving(create_app(served, keys=["a long key"])) as address:
        page = opened(address)
        page.get_by_label("API key").fill("a wrong key")
        page.keyboard.press("Enter")
        page.wait_for_selector("#problem .error")
        page.get_by_label("API key").fill("a long key")
        page.keyboard.press("Enter")
        page.wait_for_selector("#task-list button")
        assert page.locator("#key-form").is_hidden()
        task(page, "colour")
        answer(page)
        page.get_by_role("button", name="curl").click()
        assert "a long key" not in page.locator("#code").inner_text()  # copied, it would go where it should not


def test_motion_that_moves_is_still_where_that_is_wished(opened):
    page = opened(reduced_motion="reduce")
    page.wait_for_selector("#task-list button")
    task(page, "move")
    assert answer(page).get_by_role("button", name="Play").is_visible()
