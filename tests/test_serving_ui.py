"""The page at /ui as people use it: a built bento, `bentoml serve`, and a real browser."""

import csv
import io
import os
import re
import select
import shutil
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import httpx
import numpy as np
import psutil
import pytest
import soundfile as sf

from conftest import ROOT
from genreflow.costs.service_process import served
from genreflow.inference.predictor import Predictor
from serving_toy import LABELS, tone, write_tone, write_toy_bundle

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

TOKEN = "open-sesame"
FORMULA = '=HYPERLINK("http:x","y").wav'
MARKUP = "<img src=x onerror=alert(1)>.wav"


@pytest.fixture(scope="module")
def service(bento_home):
    with served("genre-classifier:latest", environment={"BENTOML_HOME": bento_home}) as service:
        yield service


@pytest.fixture(scope="module")
def strict_service(bento_home, tmp_path_factory):
    """A service that asks for a token, takes six seconds of audio, and whose model knows nothing well enough."""
    bundle = write_toy_bundle(tmp_path_factory.mktemp("strict"), abstain_below=1.0)
    settings = {"BUNDLE": str(bundle.directory), "TOKEN": TOKEN, "MAX_MINUTES": "0.1", "MAX_MEGABYTES": "1"}
    with served("genre-classifier:latest", environment=variables(bento_home, settings)) as service:
        yield service


@pytest.fixture(scope="module")
def narrow_service(bento_home):
    """A service that takes one request at a time, and waits for a client as long as a test may take."""
    settings = {"MAX_REQUESTS": "1", "STALL_SECONDS": "120"}
    with served("genre-classifier:latest", environment=variables(bento_home, settings)) as service:
        yield service


def variables(home, settings):
    return {"BENTOML_HOME": home} | {f"GENREFLOW_{name}": value for name, value in settings.items()}


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    y = np.concatenate([tone("bass", 6.0, rate=44100, channels=2), tone("whistle", 3.0, rate=44100, channels=2)])
    for name in ("two.flac", "two.aiff"):  # chromium decodes one of them
        sf.write(folder / name, y, 44100)
    write_tone(folder / "drone.aiff", "drone", 5.0)
    write_tone(folder / "long.aiff", "drone", 8.0)
    write_tone(folder / "drone.mp3", "drone", 5.0, rate=44100, channels=2)
    write_tone(folder / "whistle.ogg", "whistle", 4.0, rate=48000)
    write_tone(folder / "long.wav", "drone", 8.0)
    write_tone(folder / "microphone.wav", "whistle", 3.0, rate=48000)
    for name in (FORMULA, MARKUP):
        write_tone(folder / name, "bass", 3.0)
    sf.write(folder / "silence.wav", np.zeros(16000), 8000)
    (folder / "words.mp3").write_text("these are words")
    (folder / "empty.wav").touch()
    return folder


@pytest.fixture(scope="module")
def browser(songs):
    arguments = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={songs / 'microphone.wav'}",
    ]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open the page of a service; at the end it must have asked no other host, and said nothing on the console."""
    visits = []

    def visit(service, *, complaints=(), **how):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | how)
        context.set_default_timeout(20_000)
        page, asked, said = context.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        visits.append((context, service, asked, said, complaints))
        page.goto(f"{service.url}/ui")
        return page

    sync_api.expect.set_options(timeout=20_000)
    yield visit
    for context, service, asked, said, complaints in visits:
        context.close()
        assert asked
        assert [url for url in asked if not url.startswith((f"{service.url}/", f"blob:{service.url}/", "data:"))] == []
        assert [text for text in said if not any(known in text for known in complaints)] == []


def expect(page, selector):
    return sync_api.expect(page.locator(selector))


def give(page, token):
    """Answer the question for a token, once it is asked and takes what is typed."""
    expect(page, "#token").to_have_value("")
    expect(page, "#token").to_be_focused()
    page.keyboard.type(token)
    page.keyboard.press("Enter")


def choose(page, *paths):
    page.set_input_files("#files", [str(path) for path in paths])


def drop(page, path):
    data = page.evaluate_handle(
        "([name, bytes]) => { const data = new DataTransfer();"
        " data.items.add(new File([new Uint8Array(bytes)], name)); return data; }",
        [path.name, list(path.read_bytes())],
    )
    page.dispatch_event("main", "dragenter", {"dataTransfer": data})
    expect(page, "#drop-veil").to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": data})
    expect(page, "#drop-veil").to_be_hidden()


@contextmanager
def occupied(service):
    """The one place of a service, held by a client that does not send its body."""
    lines = [
        "POST /classify HTTP/1.1",
        "Host: x",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Length: 100",
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n--x\r\n").encode()
    with httpx.Client(base_url=service.url) as client:
        with ExitStack() as stack:

            def is_held():
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
                connection.sendall(head)
                return not select.select([connection], [], [], 0.5)[0]  # the page may have been faster

            wait_for(is_held)
            assert client.post("/model").status_code == 429
            yield
        wait_for(lambda: client.post("/model").status_code == 200)


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def playhead(page):
    return float(page.locator("#position").get_attribute("aria-valuenow"))


def test_a_dropped_file_is_drawn_and_answered(visit, service, songs, bento):
    page = visit(service)
    expect(page, "#model").to_contain_text("genre-classifier")
    expect(page, "#genres li").to_have_text(list(LABELS))
    drop(page, songs / "two.flac")
    expect(page, "#name").to_have_text("two.flac")
    expect(page, "#total").to_have_text("0:09")
    expect(page, "#verdict .genre").to_have_text("bass")
    expect(page, "#wave canvas").not_to_have_count(0)
    expect(page, "#spectrogram canvas").not_to_have_count(0)
    # What the page sent means what the file itself means.
    prediction = Predictor(bento / "src" / "models" / "champion").classify(songs / "two.flac")
    expect(page, "#bars .label").to_have_text(list(prediction.probabilities))
    shown = [int(text.removesuffix(" %")) for text in page.locator("#bars .number").all_text_contents()]
    np.testing.assert_allclose(shown, [100 * p for p in prediction.probabilities.values()], atol=1)
    # Bass for six seconds, then whistle.
    rows = page.locator("#stretches tr")
    genres = [row.locator("td").nth(2).text_content() for row in rows.all()]
    assert genres[0] == "bass"
    assert genres[-1] == "whistle"
    assert all(before != after for before, after in pairwise(genres))
    expect(page, "#wave [part~='region']").to_have_text(genres)
    colours = page.locator("#wave [part~='region']").evaluate_all(
        "nodes => nodes.map(node => getComputedStyle(node).backgroundColor)"
    )
    assert colours[0] != colours[-1]
    ends = [row.locator("td").nth(1).text_content() for row in rows.all()]
    assert ends[-1] == "0:09.0"
    assert 5 <= float(ends[-2].removeprefix("0:")) <= 7
    expect(page, "#status").to_have_text(re.compile(r"^two\.flac: bass, \d+ %\.$"))


def test_the_playhead_plays_seeks_and_tells_the_genre_under_it(visit, service, songs):
    page = visit(service)
    choose(page, songs / "two.flac")
    expect(page, "#now .genre").to_have_text("bass")
    page.click("#play")
    expect(page, "#play").to_have_attribute("aria-label", "Pause")
    expect(page, "#time").to_have_text("0:01")
    left = page.locator(".playhead").evaluate("node => parseFloat(node.style.left)")
    assert 100 / 9 - 1 < left < 40
    page.click("#play")
    expect(page, "#play").to_have_attribute("aria-label", "Play")
    for lane in ("#wave", "#spectrogram"):
        page.click("#wave", position={"x": 20, "y": 60})
        expect(page, "#now .genre").to_have_text("bass")
        width = page.locator(lane).bounding_box()["width"]
        page.click(lane, position={"x": 0.9 * width, "y": 60})
        expect(page, "#now .genre").to_have_text("whistle")
        assert playhead(page) == pytest.approx(8.1, abs=0.2)
        expect(page, "#stretches tr[aria-current]").to_contain_text("whistle")


def test_a_model_that_does_not_know_says_so_and_a_token_is_asked_for(visit, strict_service, songs):
    page = visit(strict_service, complaints=["401", "Download the"])
    dialog = page.get_by_role("dialog", name="This service asks for a token")
    for token in ("wrong", TOKEN):
        sync_api.expect(dialog).to_be_visible()
        give(page, token)
    expect(page, "#genres li").to_have_text(list(LABELS))
    choose(page, songs / "drone.mp3")
    expect(page, "#verdict").to_have_text("Not sure")
    expect(page, "#verdict-note").to_contain_text("the closest is drone")
    choose(page, songs / "long.wav")
    expect(page, "#notice").to_contain_text("long.wav is 0:08 long; the service takes up to 0:06.")
    expect(page, "#rows tr:first-child td:nth-child(2)").to_have_text("not sure")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("words.mp3", "Neither this browser nor the service can decode words.mp3; an undamaged wav"),
        ("empty.wav", "empty.wav is empty."),
        ("silence.wav", "silence.wav is silent from beginning to end; sound is needed."),  # the service's own words
    ],
)
def test_what_cannot_be_classified_is_said_in_words(visit, service, songs, name, words):
    page = visit(service, complaints=["415", "422"])
    expect(page, "#genres li").to_have_count(len(LABELS))
    choose(page, songs / name)
    expect(page, "#notice[role=alert]").to_be_visible()
    expect(page, "#notice-text").to_contain_text(words)
    expect(page, "#again").to_be_hidden()
    page.get_by_role("button", name="Close this message").click()
    expect(page, "#notice").to_be_hidden()
    choose(page, songs / "drone.mp3")
    expect(page, "#verdict .genre").to_have_text("drone")


def test_a_service_that_is_away_can_be_tried_again(visit, service, songs):
    page = visit(service, complaints=["ERR_INTERNET_DISCONNECTED"])
    expect(page, "#genres li").to_have_count(len(LABELS))
    page.context.set_offline(True)
    choose(page, songs / "drone.mp3")
    expect(page, "#notice-text").to_contain_text("The service cannot be reached.")
    page.context.set_offline(False)
    page.click("#again")
    expect(page, "#verdict .genre").to_have_text("drone")
    expect(page, "#notice").to_be_hidden()


def test_what_the_browser_cannot_decode_is_sent_as_it_is(visit, service, songs, bento):
    page = visit(service)
    choose(page, songs / "two.aiff")
    expect(page, "#verdict .genre").to_have_text("bass")
    expect(page, "#name").to_have_text("two.aiff")
    expect(page, "#length").to_have_text("0:09")
    expect(page, "#unplayable").to_contain_text("This browser cannot play this format")
    expect(page, "#meanwhile").to_be_hidden()
    for gone in ("#wave", "#spectrogram", "#play", "#position", "#now"):
        expect(page, gone).to_be_hidden()
    prediction = Predictor(bento / "src" / "models" / "champion").classify(songs / "two.aiff")
    expect(page, "#bars .label").to_have_text(list(prediction.probabilities))
    shown = [int(text.removesuffix(" %")) for text in page.locator("#bars .number").all_text_contents()]
    np.testing.assert_allclose(shown, [100 * p for p in prediction.probabilities.values()], atol=0.5)
    # The same genres over time as the table has, each as wide as it is long, and nothing to seek in.
    genres = page.locator("#stretches td:nth-child(3)").all_text_contents()
    assert (genres[0], genres[-1]) == ("bass", "whistle")
    expect(page, "#ribbon .stretch").to_have_text(genres)
    boxes = [stretch.bounding_box() for stretch in page.locator("#ribbon .stretch").all()]
    whole = page.locator("#ribbon").bounding_box()
    ends = [float(text.removeprefix("0:")) for text in page.locator("#stretches td:nth-child(2)").all_text_contents()]
    reached = [(box["x"] + box["width"] - whole["x"]) / whole["width"] for box in boxes]
    np.testing.assert_allclose(reached, np.array(ends) / 9, atol=0.01)
    expect(page, "#stretches button").to_have_count(0)
    # Beside a file that it can decode, both ways.
    choose(page, songs / "whistle.ogg")
    expect(page, "#verdict .genre").to_have_text("whistle")
    expect(page, "#play").to_be_visible()
    expect(page, "#unplayable").to_be_hidden()
    page.get_by_role("button", name="two.aiff").click()
    expect(page, "#verdict .genre").to_have_text("bass")
    expect(page, "#unplayable").to_be_visible()
    expect(page, "#play").to_be_hidden()
    assert overflow(page) == 0


def test_what_neither_can_take_is_said_in_words(visit, strict_service, songs):
    page = visit(strict_service, complaints=["401", "413"])
    give(page, TOKEN)
    expect(page, "#genres li").to_have_count(len(LABELS))
    sent = []
    page.on("request", lambda request: sent.append(request.url.rpartition("/")[2]))
    choose(page, songs / "long.aiff")  # 8 s
    expect(page, "#notice-text").to_contain_text("The audio is longer than 6 s")
    assert sent.count("classify") == 1
    choose(page, songs / "two.aiff")  # 1.6 MB
    words = "This browser cannot decode two.aiff, and as it is it is larger than the 1 MB that the service takes."
    expect(page, "#notice-text").to_have_text(words)
    assert sent.count("classify") == 1
    expect(page, "#deck").to_be_hidden()


def test_a_busy_service_is_waited_for_as_it_asks(visit, narrow_service, songs):
    page = visit(narrow_service, complaints=["429"])
    expect(page, "#genres li").to_have_count(len(LABELS))
    answers = []
    page.on("response", lambda response: answers.append(response.status) if "/classify" in response.url else None)
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 60_000)
    with occupied(narrow_service):
        choose(page, songs / "drone.aiff")  # no timer stands between choosing and sending it
        expect(page, "#meanwhile").to_contain_text("The service has too much to do at the moment. Waiting")
        expect(page, "#status[aria-live=polite]").to_contain_text("Waiting for its answer")
        page.clock.run_for(999)  # Retry-After is 1 s
        page.wait_for_timeout(300)
        assert answers == [429]
        with page.expect_response("**/classify"):
            page.clock.run_for(1)
        expect(page, "#meanwhile").to_be_visible()
        expect(page, "#notice").to_be_hidden()
    page.clock.run_for(1000)
    expect(page, "#verdict .genre").to_have_text("drone")
    expect(page, "#meanwhile").to_be_hidden()
    assert answers == [429, 429, 200]


@pytest.mark.slow
def test_a_service_that_stays_busy_is_not_waited_for_without_end(visit, narrow_service, songs):
    page = visit(narrow_service, complaints=["429"])
    expect(page, "#genres li").to_have_count(len(LABELS))
    page.clock.install()
    with occupied(narrow_service):
        choose(page, songs / "drone.mp3", songs / "whistle.ogg")
        for name in ("drone.mp3", "whistle.ogg"):
            expect(page, "#meanwhile").to_be_visible()
            page.clock.fast_forward(60_000)
            row = page.get_by_role("row", name=name)
            sync_api.expect(row).to_contain_text("The service has too much to do at the moment. Try again in a minute.")
        expect(page, "#meanwhile").to_be_hidden()
        expect(page, "#progress-text").to_have_text("2 files: 2 failed")
    page.get_by_role("button", name="Try whistle.ogg again").click()
    sync_api.expect(page.get_by_role("row", name="whistle.ogg").locator("td").first).to_have_text("whistle")
    expect(page, "#progress-text").to_have_text("2 files: 1 with a genre, 1 failed")


def test_what_is_paused_while_it_waits_goes_on_later(visit, narrow_service, songs):
    page = visit(narrow_service, complaints=["429"])
    expect(page, "#genres li").to_have_count(len(LABELS))
    with occupied(narrow_service):
        choose(page, songs / "drone.mp3", songs / "whistle.ogg")
        expect(page, "#meanwhile").to_be_visible()
        page.get_by_role("button", name="Pause").click()
        expect(page, "#meanwhile").to_be_hidden()
        expect(page, "#rows td").to_have_text(["waiting", "waiting"])
    page.get_by_role("button", name="Continue").click()
    expect(page, "#rows td:nth-child(2)").to_have_text(["drone", "whistle"])


def test_what_a_proxy_says_of_a_service_that_is_away_is_said_in_words(visit, service, songs):
    page = visit(service, complaints=["502", "503"])
    expect(page, "#genres li").to_have_count(len(LABELS))
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 60_000)
    # The service never answers with these itself.
    answers = iter([502, 503, 503])
    page.route(
        "**/classify",
        lambda route: route.fulfill(status=status, body="<h1>") if (status := next(answers, 0)) else route.continue_(),
    )
    choose(page, songs / "drone.aiff")
    expect(page, "#notice-text").to_have_text("The service failed to answer (status 502).")
    page.click("#again")
    expect(page, "#meanwhile").to_contain_text("Waiting for its answer")
    with page.expect_response("**/classify"):
        page.clock.run_for(1000)
    with page.expect_response("**/classify"):
        page.clock.run_for(2000)  # twice as long, since it was not told
    expect(page, "#verdict .genre").to_have_text("drone")
    expect(page, "#notice").to_be_hidden()


@pytest.mark.slow
def test_a_service_that_ends_in_the_middle_is_found_again(visit, bento_home, songs, tmp_path):
    environment = os.environ | variables(bento_home, {}) | {"BENTOML_DO_NOT_TRACK": "True"}
    with served("genre-classifier:latest", environment=variables(bento_home, {})) as service:
        page = visit(service, complaints=["ERR_"])
        choose(page, songs / "drone.mp3")
        expect(page, "#verdict .genre").to_have_text("drone")
        service.process.terminate()
        service.process.wait(30)
        choose(page, songs / "whistle.ogg", songs / "two.aiff")
        expect(page, "#progress-text").to_have_text("3 files: 1 with a genre, 2 failed")
        expect(page, "#rows td.problem").to_contain_text(["The service cannot be reached."] * 2)
        page.get_by_role("button", name="Try whistle.ogg again").click()
        expect(page, "#progress-text").to_have_text("3 files: 1 with a genre, 2 failed")
        # Another one, at the same address.
        command = [sys.executable, "-m", "bentoml", "serve", "genre-classifier:latest", "--port", str(service.port)]
        with (tmp_path / "log").open("wb") as log:
            after = psutil.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: is_ready(service))
            for name in ("whistle.ogg", "two.aiff"):
                page.get_by_role("button", name=f"Try {name} again").click()
            expect(page, "#progress-text").to_have_text("3 files: 3 with a genre")
        finally:
            processes = [after, *after.children(recursive=True)]
            after.terminate()
            for process in psutil.wait_procs(processes, timeout=20)[1]:
                process.kill()


def is_ready(service):
    try:
        return httpx.get(f"{service.url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_several_files_are_a_table_and_a_csv(visit, service, songs):
    page = visit(service, complaints=["415"])
    names = ["drone.mp3", "words.mp3", FORMULA, MARKUP, "whistle.ogg"]
    choose(page, *(songs / name for name in names))
    expect(page, "#progress-text").to_have_text("5 files: 4 with a genre, 1 failed")
    expect(page, "#progress").to_be_hidden()
    expect(page, "#rows th").to_have_text(names)
    expect(page, "#rows td:nth-child(2)").to_have_text(["drone", re.compile("can decode"), "bass", "bass", "whistle"])
    expect(page, "#rows img").to_have_count(0)
    page.get_by_role("button", name="whistle.ogg").click()
    expect(page, "#name").to_have_text("whistle.ogg")
    expect(page, "#verdict .genre").to_have_text("whistle")
    expect(page, "#rows tr[aria-current] th").to_have_text("whistle.ogg")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "genres.csv"
    text = download.value.path().read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = ["file", "genre", "confidence", "duration", "short", "error", "message"]
    assert list(rows[0]) == columns + [f"p_{label}" for label in LABELS]
    # A spreadsheet must not run a file's name.
    assert [row["file"] for row in rows] == [*names[:2], f"'{FORMULA}", *names[3:]]
    assert [row["genre"] for row in rows] == ["drone", "", "bass", "bass", "whistle"]
    assert [row["error"] for row in rows] == ["", "undecodable", "", "", ""]
    assert rows[1]["message"].startswith("Neither this browser nor the service can decode words.mp3")
    for row in (rows[0], *rows[2:]):
        assert sum(float(row[f"p_{label}"]) for label in LABELS) == pytest.approx(1)
        assert float(row["confidence"]) == max(float(row[f"p_{label}"]) for label in LABELS)
    assert float(rows[4]["duration"]) == pytest.approx(4, abs=0.1)
    page.get_by_role("button", name="Clear").click()
    expect(page, "#tracks").to_be_hidden()
    expect(page, "#deck").to_be_hidden()


def test_a_recording_is_classified(visit, service):
    page = visit(service)
    page.get_by_role("button", name="Record").click()
    stop = page.get_by_role("button", name="Stop and classify")
    sync_api.expect(stop).to_be_focused()
    page.get_by_role("button", name="Discard").click()
    expect(page, "#recorder").to_be_hidden()
    expect(page, "#deck").to_be_hidden()
    page.get_by_role("button", name="Record").click()
    expect(page, "#recorded").to_have_text("0:03")
    stop.click()
    expect(page, "#name").to_have_text(re.compile("^Recording "))
    expect(page, "#verdict .genre").to_have_text("whistle")
    page.click("#play")
    expect(page, "#time").to_have_text("0:01")


def test_the_keyboard_is_enough(visit, service, songs):
    page = visit(service)
    page.on("filechooser", lambda chooser: None)  # catches them from now on, not from Enter on
    expect(page, "#genres li").to_have_count(len(LABELS))
    page.keyboard.press("Tab")
    expect(page, ".skip").to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page, "#choose").to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(songs / "two.flac")
    expect(page, "#verdict .genre").to_have_text("bass")
    slider = page.get_by_role("slider", name="Position in the track")
    sync_api.expect(slider).to_be_focused()
    assert page.locator("#position").evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    page.keyboard.press("Space")
    expect(page, "#play").to_have_attribute("aria-label", "Pause")
    page.keyboard.press("Space")
    expect(page, "#play").to_have_attribute("aria-label", "Play")
    page.keyboard.press("Home")
    sync_api.expect(slider).to_have_attribute("aria-valuetext", "0:00 of 0:09, bass")
    page.keyboard.press("ArrowRight")
    sync_api.expect(slider).to_have_attribute("aria-valuetext", re.compile("^0:05 of 0:09"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowRight")
    sync_api.expect(slider).to_have_attribute("aria-valuetext", re.compile("^0:01 of 0:09"))
    page.keyboard.press("End")
    sync_api.expect(slider).to_have_attribute("aria-valuetext", "0:09 of 0:09, whistle")
    page.keyboard.press("Tab")
    expect(page, "#play").to_be_focused()
    for _ in range(3):  # the list, its first stretch, its second
        page.keyboard.press("Tab")
    start = page.locator("#stretches button").nth(1)
    sync_api.expect(start).to_be_focused()
    page.keyboard.press("Enter")
    minutes, seconds = start.text_content().split(":")
    sync_api.expect(slider).to_have_attribute("aria-valuenow", re.compile(re.escape(f"{float(seconds):.1f}")))
    assert minutes == "0"


def test_a_screen_reader_finds_its_way(visit, service, songs):
    page = visit(service, complaints=["415"])
    choose(page, songs / "two.flac")
    expect(page, "#verdict .genre").to_have_text("bass")
    choose(page, songs / "drone.mp3", songs / "words.mp3")
    expect(page, "#progress-text").to_contain_text("3 files: 2 with a genre, 1 failed")
    expect(page, "#status[aria-live=polite]").to_have_text("3 files: 2 with a genre, 1 failed")
    for role in ("banner", "main", "contentinfo"):
        sync_api.expect(page.get_by_role(role)).to_have_count(1)
    for region in ("Choose audio", "two.flac", "The whole track", "Over time", "Files"):
        sync_api.expect(page.get_by_role("region", name=region, exact=True)).to_be_visible()
    spoken = page.locator("body").aria_snapshot()
    roles = "button|slider|link|textbox|progressbar|region|list"
    nameless = re.findall(rf"^\s*- (?:{roles})\b(?! \").*", spoken, re.MULTILINE)
    assert nameless == []
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(visit, service, songs, scheme):
    page = visit(service, complaints=["415"], viewport={"width": 360, "height": 740}, color_scheme=scheme)
    expect(page, "#genres li").to_have_count(len(LABELS))
    assert overflow(page) == 0
    choose(page, songs / "two.flac")
    expect(page, "#verdict .genre").to_have_text("bass")
    choose(page, songs / "words.mp3", songs / MARKUP, songs / "whistle.ogg")
    expect(page, "#progress-text").to_have_text("4 files: 3 with a genre, 1 failed")
    assert overflow(page) == 0
    levels = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(levels[:3]) < 3 * 64) == (scheme == "dark")


def test_the_page_is_sealed_and_ships_its_licence(service, bento):
    with httpx.Client(base_url=service.url, follow_redirects=True) as client:
        for path in ("/ui", "/ui/", "/ui/app.js", "/ui/limits.json"):
            answer = client.get(path)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
        assert client.get("/ui/limits.json").json() == {"max_seconds": 900.0, "max_bytes": 200_000_000}
        assert "BSD 3-Clause" in client.get("/ui/vendor/wavesurfer/LICENSE").text
        for path in ("/ui/nothing.js", "/ui/%2e%2e/__init__.py", "/ui/..%2f__init__.py"):
            assert client.get(path).status_code == 404
    static = bento / "src/genreflow/serving/ui/static"
    held = {path.relative_to(static) for path in static.rglob("*") if path.is_file()}
    source = ROOT / "src/genreflow/serving/ui/static"
    assert held == {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
