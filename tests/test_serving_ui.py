"""The classifier page at /ui: a built bento, `bentoml serve`, and a real browser."""

import csv
import io
import json
import os
import re
import socket
import sys
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import httpx
import numpy as np
import psutil
import pytest
import soundfile as sf

from chromium import expect, horizontal_overflow, is_dark, launch, needs_chromium, sync_api, unnamed_elements, visits
from conftest import ROOT
from genreflow.costs.service_process import served
from genreflow.inference.predictor import Predictor
from service_client import client_of
from serving_toy import LABELS, tone, unfamiliar_tone, write_tone, write_toy_bundle
from waiting import wait_for

pytestmark = needs_chromium

TOKEN = "open-sesame"
FORMULA = '=HYPERLINK("http:x","y").wav'
MARKUP = "<img src=x onerror=alert(1)>.wav"
# Texts that stay, unlike that of one second, which a busy machine may miss.
ONE_SECOND_OR_MORE, THREE_SECONDS_OR_MORE = re.compile(r"^0:0[1-9]$"), re.compile(r"^0:(0[3-9]|[1-5]\d)$")
# The page gives up to read the length of a file after so long, which a busy machine may need.
PROBE_TIMEOUT_MS = int(
    re.search(r"PROBE_TIMEOUT_MS = (\d+);", (ROOT / "src/genreflow/serving/ui/static/audio.js").read_text())[1]
)
NO_PROBE_TIMEOUT = """probe => {
    const set = window.setTimeout;
    window.setTimeout = (callback, ms, ...rest) => ms === probe ? 0 : set(callback, ms, ...rest);
}"""
RECORD_DELAYS = """() => {
    const set = window.setTimeout;
    window.delays = [];
    window.setTimeout = (callback, ms, ...rest) => { delays.push(ms); return set(callback, ms, ...rest); };
}"""


@pytest.fixture(scope="module")
def service(bento_home):
    with served("genre-classifier:latest", environment={"BENTOML_HOME": bento_home}, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def restrictive_service(bento_home, tmp_path_factory):
    """A service that requires a token, accepts six seconds of audio, and whose model always abstains."""
    bundle = write_toy_bundle(tmp_path_factory.mktemp("restrictive"), abstain_below=1.0, refuse_above=0.6)
    settings = {"BUNDLE": str(bundle.directory), "TOKEN": TOKEN, "MAX_MINUTES": "0.1", "MAX_MEGABYTES": "1"}
    with served("genre-classifier:latest", environment=environment_of(bento_home, settings), watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def single_upload_service(bento_home):
    """A service that receives one upload at a time, whose timeout for stalled clients is longer than a test."""
    settings = {"MAX_UPLOADS": "1", "PROCESSES": "1", "STALL_SECONDS": "300"}
    with served("genre-classifier:latest", environment=environment_of(bento_home, settings), watch=False) as service:
        yield service


def environment_of(home, settings):
    return {"BENTOML_HOME": home} | {f"GENREFLOW_{name}": value for name, value in settings.items()}


@pytest.fixture(scope="module")
def audio_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    y = np.concatenate([tone("bass", 6.0, rate=44100, channels=2), tone("whistle", 3.0, rate=44100, channels=2)])
    for name in ("two.flac", "two.aiff"):  # Chromium decodes only the first
        sf.write(folder / name, y, 44100)
    write_tone(folder / "drone.aiff", "drone", 5.0)
    write_tone(folder / "long.aiff", "drone", 8.0)
    write_tone(folder / "drone.mp3", "drone", 5.0, rate=44100, channels=2)
    write_tone(folder / "whistle.ogg", "whistle", 4.0, rate=48000)
    write_tone(folder / "long.wav", "drone", 8.0)
    sf.write(folder / "strange.wav", unfamiliar_tone(5.0), 8000)
    write_tone(folder / "microphone.wav", "whistle", 3.0, rate=48000)
    for name in (FORMULA, MARKUP):
        write_tone(folder / name, "bass", 3.0)
    sf.write(folder / "silence.wav", np.zeros(16000), 8000)
    left = tone("drone", 5.0, rate=44100)[:, 0]
    sf.write(folder / "opposite.wav", np.stack([left, -left], axis=1), 44100)
    sf.write(folder / "offset.wav", np.full(16000, 0.3), 8000)
    (folder / "text.mp3").write_text("not audio")
    (folder / "empty.wav").touch()
    return folder


@pytest.fixture(scope="module")
def browser(audio_files):
    microphone = audio_files / "microphone.wav"
    with launch(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
    ) as browser:
        yield browser


@pytest.fixture
def visit(browser):
    """Open the classifier page of a service; see `chromium.visits` for what is asserted at the end."""
    with visits(browser) as visit:

        def open_page(service, **options):
            page = visit(service.url, "/ui", **options)
            page.evaluate(NO_PROBE_TIMEOUT, PROBE_TIMEOUT_MS)
            return page

        yield open_page


def stop_clock(page):
    """Let the time of a page pass only when a test says so, and record its timers."""
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 60_000)
    page.evaluate(RECORD_DELAYS)


def wait_for_retries(page, *delays):
    """Wait until the page has planned all of these retries [ms]: time that passes before does not count for them."""
    wait_for(lambda: [delay for delay in page.evaluate("delays") if delay in (1000, 2000)] == list(delays))


def enter_token(page, token):
    """Fill in the token dialog as soon as it accepts input."""
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
    expect(page, "#drop-overlay").to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": data})
    expect(page, "#drop-overlay").to_be_hidden()


MARKUP_LABELS = ("<b onclick=alert(1)>r&b", "drone | `x`", "<img src=x onerror=alert(1)>")


def test_names_of_genres_are_shown_as_text_and_a_model_of_the_demo_has_a_notice(visit, tmp_path, audio_files):
    bundle = write_toy_bundle(
        tmp_path / "bundle",
        labels=MARKUP_LABELS,
        lineage={"source": "demo"},
        embedder={"name": "MSD_musicnn", "licence": "ISC", "sha256": "ab", "parameters": 7},
    )
    with served(environment={"GENREFLOW_BUNDLE": str(bundle.directory)}, watch=False) as service:
        page = visit(service)
        expect(page, "#model-notice").to_contain_text("the 3 composed styles of the demo only")
        expect(page, "#model").to_contain_text("pretrained MSD_musicnn (licence: ISC)")
        for label in MARKUP_LABELS:
            sync_api.expect(page.locator("#genres li", has_text=label)).to_have_count(1)
        choose(page, audio_files / "two.flac")
        expect(page, "#predicted-genre .genre").to_have_text(MARKUP_LABELS[0])
        assert page.locator("[onerror], [onclick], main b").count() == 0


@contextmanager
def occupied(service):
    """Occupy the only place of an upload by a client that does not send its body, until the end or a call."""
    lines = [
        "POST /classify HTTP/1.1",
        "Host: x",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Length: 100",
        "Expect: 100-continue",
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    with client_of(service) as client:
        with ExitStack() as stack:

            def is_occupied():
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=300))
                connection.sendall(head)
                # The service reads the body; it refuses it if a request of the page has come first.
                return connection.recv(1000).startswith(b"HTTP/1.1 100 ")

            wait_for(is_occupied)
            assert client.post("/classify", files={"audio": b"words"}).status_code == 429
            yield stack.close
        wait_for(lambda: client.post("/classify", files={"audio": b"words"}).status_code == 415)


def expect_error(page, code, *parts):
    """Expect an error message with a code, and with the given parts in its text."""
    expect(page, f"#notice[data-code={code}]").to_be_visible()
    for part in parts:
        expect(page, "#notice-text").to_contain_text(part)


def playhead_seconds(page):
    return float(page.locator("#position").get_attribute("aria-valuenow"))


def test_a_dropped_file_is_drawn_and_classified(visit, service, audio_files, bento):
    page = visit(service)
    expect(page, "#model").to_contain_text("genre-classifier")
    expect(page, "#genres li").to_have_text(list(LABELS))
    drop(page, audio_files / "two.flac")
    expect(page, "#track-name").to_have_text("two.flac")
    expect(page, "#total-time").to_have_text("0:09")
    expect(page, "#predicted-genre .genre").to_have_text("bass")
    expect(page, "#waveform canvas").not_to_have_count(0)
    expect(page, "#spectrogram canvas").not_to_have_count(0)
    # Decoding in the browser gives the same prediction as decoding by the service.
    prediction = Predictor(bento / "src" / "models" / "champion").classify(audio_files / "two.flac")
    expect(page, "#probabilities .label").to_have_text(list(prediction.probabilities))
    shown = [int(text.removesuffix("%")) for text in page.locator("#probabilities .number").all_text_contents()]
    np.testing.assert_allclose(shown, [100 * p for p in prediction.probabilities.values()], atol=1)
    # The file is "bass" for six seconds, then "whistle".
    rows = page.locator("#regions tr")
    genres = [row.locator("td").nth(2).text_content() for row in rows.all()]
    assert genres[0] == "bass"
    assert genres[-1] == "whistle"
    assert all(before != after for before, after in pairwise(genres))
    expect(page, "#waveform [part~='region']").to_have_text(genres)
    colours = page.locator("#waveform [part~='region']").evaluate_all(
        "nodes => nodes.map(node => getComputedStyle(node).backgroundColor)"
    )
    assert colours[0] != colours[-1]
    ends = [row.locator("td").nth(1).text_content() for row in rows.all()]
    assert ends[-1] == "0:09.0"
    assert 5 <= float(ends[-2].removeprefix("0:")) <= 7
    expect(page, "#status").to_have_text(re.compile(r"^two\.flac: bass, \d+%\.$"))


def test_channels_of_opposite_phase_are_mixed_as_in_the_service(visit, service, audio_files, bento):
    page = visit(service)
    choose(page, audio_files / "opposite.wav")
    prediction = Predictor(bento / "src" / "models" / "champion").classify(audio_files / "opposite.wav")
    assert prediction.genre == "drone"
    expect(page, "#predicted-genre .genre").to_have_text("drone")
    expect(page, "#predicted-genre .confidence").to_have_text(f"{round(100 * prediction.confidence)}%")


def test_playback_and_seeking_show_the_genre_at_the_playhead(visit, service, audio_files):
    page = visit(service)
    choose(page, audio_files / "two.flac")
    expect(page, "#current-genre .genre").to_have_text("bass")
    page.click("#play")
    expect(page, "#play").to_have_attribute("aria-label", "Pause")
    expect(page, "#current-time").to_have_text(ONE_SECOND_OR_MORE)
    left, seconds = page.evaluate(
        "[parseFloat(document.getElementById('playhead').style.left),"
        " Number(document.getElementById('position').getAttribute('aria-valuenow'))]"
    )
    assert seconds >= 1
    assert left == pytest.approx(100 * seconds / 9, abs=1)
    page.click("#play")
    expect(page, "#play").to_have_attribute("aria-label", "Play")
    for lane in ("#waveform", "#spectrogram"):
        page.click("#waveform", position={"x": 20, "y": 60})
        expect(page, "#current-genre .genre").to_have_text("bass")
        width = page.locator(lane).bounding_box()["width"]
        page.click(lane, position={"x": 0.9 * width, "y": 60})
        expect(page, "#current-genre .genre").to_have_text("whistle")
        assert playhead_seconds(page) == pytest.approx(8.1, abs=0.2)
        expect(page, "#regions tr[aria-current]").to_contain_text("whistle")


def test_an_abstaining_model_behind_a_token(visit, restrictive_service, audio_files):
    page = visit(restrictive_service, expected_messages=("401", "Download the"))
    dialog = page.get_by_role("dialog", name="This service requires a token")
    for token in ("wrong", TOKEN):
        sync_api.expect(dialog).to_be_visible()
        enter_token(page, token)
    expect(page, "#genres li").to_have_text(list(LABELS))
    choose(page, audio_files / "drone.mp3")
    expect(page, "#predicted-genre").to_have_text("Uncertain")
    expect(page, "#prediction-notes").to_contain_text("drone")
    choose(page, audio_files / "strange.wav")
    expect(page, "#predicted-genre").to_have_text("Unfamiliar")
    expect(page, "#prediction-notes").to_contain_text("unlike the music this model was trained on")
    expect(page, "#track-rows tr:last-child td:nth-child(2)").to_have_text("Unfamiliar")
    expect(page, "#progress-text").to_have_text("2 files: 1 unfamiliar, 1 uncertain")
    choose(page, audio_files / "long.wav")
    expect_error(page, "too_long", "long.wav is 0:08 long", "0:06")
    expect(page, "#status").to_be_empty()
    expect(page, "#track-rows tr:first-child td:nth-child(2)").to_have_text("Uncertain")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("text.mp3", "undecodable"),
        ("empty.wav", "empty"),
        ("silence.wav", "unusable"),  # an error of the service, shown as it is
        ("offset.wav", "unusable"),
    ],
)
def test_a_file_that_cannot_be_classified(visit, service, audio_files, name, code):
    page = visit(service, expected_messages=("415", "422"))
    expect(page, "#genres li").to_have_count(len(LABELS))
    choose(page, audio_files / name)
    expect(page, "#notice[role=alert]").to_be_visible()
    expect_error(page, code, name)
    expect(page, "#status").to_be_empty()  # it was "Decoding …"
    expect(page, "#model-notice").to_be_hidden()
    expect(page, "#retry").to_be_hidden()
    page.get_by_role("button", name="Dismiss this message").click()
    expect(page, "#notice").to_be_hidden()
    choose(page, audio_files / "drone.mp3")
    expect(page, "#predicted-genre .genre").to_have_text("drone")


def test_retry_after_the_service_was_unreachable(visit, service, audio_files):
    page = visit(service, expected_messages=("ERR_INTERNET_DISCONNECTED",))
    expect(page, "#genres li").to_have_count(len(LABELS))
    page.context.set_offline(True)
    choose(page, audio_files / "drone.mp3")
    expect_error(page, "unreachable")
    page.context.set_offline(False)
    page.click("#retry")
    expect(page, "#predicted-genre .genre").to_have_text("drone")
    expect(page, "#notice").to_be_hidden()


def test_a_file_that_the_browser_cannot_decode_is_uploaded_unchanged(visit, service, audio_files, bento):
    page = visit(service)
    choose(page, audio_files / "two.aiff")
    expect(page, "#predicted-genre .genre").to_have_text("bass")
    expect(page, "#track-name").to_have_text("two.aiff")
    expect(page, "#track-duration").to_have_text("0:09")
    expect(page, "#undecodable").to_be_visible()
    expect(page, "#activity").to_be_hidden()
    for hidden in ("#waveform", "#spectrogram", "#play", "#position", "#current-genre"):
        expect(page, hidden).to_be_hidden()
    prediction = Predictor(bento / "src" / "models" / "champion").classify(audio_files / "two.aiff")
    expect(page, "#probabilities .label").to_have_text(list(prediction.probabilities))
    shown = [int(text.removesuffix("%")) for text in page.locator("#probabilities .number").all_text_contents()]
    np.testing.assert_allclose(shown, [100 * p for p in prediction.probabilities.values()], atol=0.5)
    # The bar has the regions of the table, each as wide as it is long; there is nothing to seek in.
    genres = page.locator("#regions td:nth-child(3)").all_text_contents()
    assert (genres[0], genres[-1]) == ("bass", "whistle")
    expect(page, "#genre-bar .region").to_have_text(genres)
    boxes = [region.bounding_box() for region in page.locator("#genre-bar .region").all()]
    bar = page.locator("#genre-bar").bounding_box()
    ends = [float(text.removeprefix("0:")) for text in page.locator("#regions td:nth-child(2)").all_text_contents()]
    drawn_ends = [(box["x"] + box["width"] - bar["x"]) / bar["width"] for box in boxes]
    np.testing.assert_allclose(drawn_ends, np.array(ends) / 9, atol=0.01)
    expect(page, "#regions button").to_have_count(0)
    # Switch to a file that the browser can decode, and back.
    choose(page, audio_files / "whistle.ogg")
    expect(page, "#predicted-genre .genre").to_have_text("whistle")
    expect(page, "#play").to_be_visible()
    expect(page, "#undecodable").to_be_hidden()
    page.get_by_role("button", name="two.aiff").click()
    expect(page, "#predicted-genre .genre").to_have_text("bass")
    expect(page, "#undecodable").to_be_visible()
    expect(page, "#play").to_be_hidden()
    assert horizontal_overflow(page) == 0


def test_an_undecodable_file_beyond_the_limits(visit, restrictive_service, audio_files):
    page = visit(restrictive_service, expected_messages=("401", "413"))
    enter_token(page, TOKEN)
    expect(page, "#genres li").to_have_count(len(LABELS))
    requests = []
    page.on("request", lambda request: requests.append(request.url.rpartition("/")[2]))
    choose(page, audio_files / "long.aiff")  # 8 s
    expect_error(page, "too_long")
    assert requests.count("classify") == 1
    choose(page, audio_files / "two.aiff")  # 1.6 MB
    expect_error(page, "too_large", "two.aiff", "1 MB")
    assert requests.count("classify") == 1  # not uploaded
    expect(page, "#track-view").to_be_hidden()


def test_a_busy_service_is_retried_after_the_requested_delay(visit, single_upload_service, audio_files):
    page = visit(single_upload_service, expected_messages=("429",))
    expect(page, "#genres li").to_have_count(len(LABELS))
    statuses = []
    page.on("response", lambda response: statuses.append(response.status) if "/classify" in response.url else None)
    stop_clock(page)
    with occupied(single_upload_service):
        choose(page, audio_files / "drone.aiff")  # not decoded by the browser, so that no timer precedes the upload
        expect(page, "#activity").to_contain_text("The service is busy")
        expect(page, "#status[aria-live=polite]").to_contain_text("The service is busy")
        wait_for_retries(page, 1000)
        page.clock.run_for(999)  # Retry-After is 1 s
        page.wait_for_timeout(300)
        assert statuses == [429]
        with page.expect_response("**/classify"):
            page.clock.run_for(1)
        wait_for_retries(page, 1000, 1000)
        expect(page, "#activity").to_be_visible()
        expect(page, "#notice").to_be_hidden()
    page.clock.run_for(1000)
    expect(page, "#predicted-genre .genre").to_have_text("drone")
    expect(page, "#activity").to_be_hidden()
    assert statuses == [429, 429, 200]


@pytest.mark.slow
def test_retries_of_a_busy_service_end(visit, single_upload_service, audio_files):
    page = visit(single_upload_service, expected_messages=("429",))
    expect(page, "#genres li").to_have_count(len(LABELS))
    page.clock.install()
    with occupied(single_upload_service):
        choose(page, audio_files / "drone.mp3", audio_files / "whistle.ogg")
        for name in ("drone.mp3", "whistle.ogg"):
            expect(page, "#activity").to_be_visible()
            page.clock.fast_forward(60_000)
            sync_api.expect(page.get_by_role("row", name=name).locator("[data-code=busy]")).to_be_visible()
        expect(page, "#activity").to_be_hidden()
        expect(page, "#progress-text").to_have_text("2 files: 2 failed")
    page.get_by_role("button", name="Try whistle.ogg again").click()
    sync_api.expect(page.get_by_role("row", name="whistle.ogg").locator("td").first).to_have_text("whistle")
    expect(page, "#progress-text").to_have_text("2 files: 1 classified, 1 failed")


def test_pause_and_continue_while_the_service_is_busy(visit, single_upload_service, audio_files):
    page = visit(single_upload_service, expected_messages=("429",))
    expect(page, "#genres li").to_have_count(len(LABELS))
    with occupied(single_upload_service):
        choose(page, audio_files / "drone.mp3", audio_files / "whistle.ogg")
        expect(page, "#activity").to_be_visible()
        page.get_by_role("button", name="Pause").click()
        expect(page, "#activity").to_be_hidden()
        expect(page, "#track-rows td").to_have_text(["Waiting", "Waiting"])
    page.get_by_role("button", name="Continue").click()
    expect(page, "#track-rows td:nth-child(2)").to_have_text(["drone", "whistle"])


def test_errors_of_a_proxy(visit, service, audio_files):
    page = visit(service, expected_messages=("502", "503"))
    expect(page, "#genres li").to_have_count(len(LABELS))
    stop_clock(page)
    # The service itself never responds with these statuses.
    statuses = iter([502, 503, 503])
    page.route(
        "**/classify",
        lambda route: route.fulfill(status=status, body="<h1>") if (status := next(statuses, 0)) else route.continue_(),
    )
    choose(page, audio_files / "drone.aiff")
    expect_error(page, "service", "502")
    page.click("#retry")
    expect(page, "#activity").to_contain_text("The service is busy")
    wait_for_retries(page, 1000)
    with page.expect_response("**/classify"):
        page.clock.run_for(1000)
    wait_for_retries(page, 1000, 2000)
    with page.expect_response("**/classify"):
        page.clock.run_for(2000)  # twice the delay, because there is no Retry-After
    expect(page, "#predicted-genre .genre").to_have_text("drone")
    expect(page, "#notice").to_be_hidden()


@pytest.mark.slow
def test_retry_after_a_restart_of_the_service(visit, bento_home, audio_files, tmp_path):
    environment = os.environ | environment_of(bento_home, {}) | {"BENTOML_DO_NOT_TRACK": "True"}
    with served("genre-classifier:latest", environment=environment_of(bento_home, {}), watch=False) as service:
        page = visit(service, expected_messages=("ERR_",))
        choose(page, audio_files / "drone.mp3")
        expect(page, "#predicted-genre .genre").to_have_text("drone")
        service.process.terminate()
        service.process.wait(300)
        choose(page, audio_files / "whistle.ogg", audio_files / "two.aiff")
        expect(page, "#progress-text").to_have_text("3 files: 1 classified, 2 failed")
        expect(page, "#track-rows [data-code=unreachable]").to_have_count(2)
        page.get_by_role("button", name="Try whistle.ogg again").click()
        expect(page, "#progress-text").to_have_text("3 files: 1 classified, 2 failed")
        # Start another service on the same port.
        command = [sys.executable, "-m", "bentoml", "serve", "genre-classifier:latest", "--port", str(service.port)]
        with (tmp_path / "log").open("wb") as log:
            restarted = psutil.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: is_ready(service))
            for name in ("whistle.ogg", "two.aiff"):
                page.get_by_role("button", name=f"Try {name} again").click()
            expect(page, "#progress-text").to_have_text("3 files: 3 classified")
        finally:
            processes = [restarted, *restarted.children(recursive=True)]
            restarted.terminate()
            for process in psutil.wait_procs(processes, timeout=60)[1]:
                process.kill()


def is_ready(service):
    try:
        return httpx.get(f"{service.url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_several_files_as_table_and_csv(visit, service, audio_files):
    page = visit(service, expected_messages=("415",))
    names = ["drone.mp3", "text.mp3", FORMULA, MARKUP, "whistle.ogg"]
    choose(page, *(audio_files / name for name in names))
    expect(page, "#progress-text").to_have_text("5 files: 4 classified, 1 failed")
    expect(page, "#progress").to_be_hidden()
    expect(page, "#track-rows th").to_have_text(names)
    expect(page, "#track-rows tr:has(td:nth-child(4)) td:nth-child(2)").to_have_text(
        ["drone", "bass", "bass", "whistle"]
    )
    expect(page, "#track-rows [data-code=undecodable]").to_have_count(1)
    expect(page, "#track-rows img").to_have_count(0)
    page.get_by_role("button", name="whistle.ogg").click()
    expect(page, "#track-name").to_have_text("whistle.ogg")
    expect(page, "#predicted-genre .genre").to_have_text("whistle")
    expect(page, "#track-rows tr[aria-current] th").to_have_text("whistle.ogg")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "genres.csv"
    text = download.value.path().read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = ["file", "genre", "reason", "confidence", "unfamiliarity", "duration", "short", "error", "message"]
    assert list(rows[0]) == columns + [f"p_{label}" for label in LABELS]
    # Spreadsheets must not evaluate a file name as a formula.
    assert [row["file"] for row in rows] == [*names[:2], f"'{FORMULA}", *names[3:]]
    assert [row["genre"] for row in rows] == ["drone", "", "bass", "bass", "whistle"]
    assert [row["error"] for row in rows] == ["", "undecodable", "", "", ""]
    assert "text.mp3" in rows[1]["message"]
    for row in (rows[0], *rows[2:]):
        assert sum(float(row[f"p_{label}"]) for label in LABELS) == pytest.approx(1)
        assert float(row["confidence"]) == max(float(row[f"p_{label}"]) for label in LABELS)
    assert float(rows[4]["duration"]) == pytest.approx(4, abs=0.1)
    page.get_by_role("button", name="Clear").click()
    expect(page, "#track-list").to_be_hidden()
    expect(page, "#track-view").to_be_hidden()


def test_an_example_of_the_demo_is_one_click_away(visit, tmp_path, service):
    bundle = write_toy_bundle(tmp_path / "bundle", lineage={"source": "demo"})
    with served(environment={"GENREFLOW_BUNDLE": str(bundle.directory)}, watch=False) as demo:
        page = visit(demo)
        buttons = page.locator("#example-list button")
        sync_api.expect(buttons).to_have_count(3)
        for number, button in enumerate(buttons.all(), start=1):
            button.click()
            expect(page, "#track-name").to_have_text(f"{button.text_content()}.mp3")
            if number > 1:
                expect(page, "#progress-text").to_contain_text(f"{number} files: ")
            expect(page, "#probabilities .label").to_have_count(len(LABELS))
        page.click("#play")
        expect(page, "#current-time").to_have_text(ONE_SECOND_OR_MORE)
    page = visit(service)  # whose model is not known to be of the demo's music
    expect(page, "#genres li").to_have_count(len(LABELS))
    expect(page, "#examples").to_be_hidden()


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """Half an hour: bass, then whistle."""
    path = tmp_path_factory.mktemp("long") / "mix.flac"
    with sf.SoundFile(path, "w", 8000, 1) as file:
        for label in ("bass", "whistle"):
            for _ in range(15):
                file.write(tone(label, 60.0))
    return path


def test_a_long_file_is_uploaded_and_played_without_being_decoded(visit, service, long_file, audio_files):
    page = visit(service)
    activity = []
    page.expose_function("record", lambda text: activity.append(text))
    page.evaluate(
        "new MutationObserver(() => record(document.getElementById('activity-text').textContent))"
        ".observe(document.getElementById('activity-text'), {childList: true})"
    )
    with page.expect_request("**/classify") as request:
        choose(page, long_file)
    assert request.value.headers["accept"].startswith("application/x-ndjson")
    expect(page, "#predicted-genre .genre").to_have_text(re.compile("bass|whistle"))
    assert any("mix.flac is 30:00 long. Uploading the file to the service" in text for text in activity)
    expect(page, "#activity").to_be_hidden()
    expect(page, "#status").to_contain_text("mix.flac: ")
    expect(page, "#player").to_be_hidden()
    expect(page, "#genre-bar .region").to_have_text(["bass", "whistle"])
    page.locator("#regions button").last.click()
    sync_api.expect(page.locator("#regions tr").last).to_have_attribute("aria-current", "true")
    position = "document.getElementById('long-audio').currentTime"
    assert 880 <= page.evaluate(position) <= 920
    page.click("#genre-bar", position={"x": 10, "y": 20})
    sync_api.expect(page.locator("#regions tr").first).to_have_attribute("aria-current", "true")
    assert page.evaluate(position) < 60
    # Another track replaces it.
    choose(page, audio_files / "whistle.ogg")
    expect(page, "#track-name").to_have_text("whistle.ogg")
    expect(page, "#undecodable").to_be_hidden()
    assert page.evaluate("document.getElementById('long-audio').paused")
    # Once more, from the list.
    page.get_by_role("button", name="mix.flac").click()
    expect(page, "#long-audio").to_be_visible()


def test_the_progress_of_a_long_request_is_shown(visit, service, audio_files):
    page = visit(service)
    expect(page, "#genres li").to_have_count(len(LABELS))
    lines = [
        {"progress": {"seconds": 3.2}},
        {"status": 415, "body": {"error": {"code": "undecodable", "message": "x"}}},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines)
    page.route("**/classify", lambda route: route.fulfill(body=body, content_type="application/x-ndjson"))
    choose(page, audio_files / "drone.aiff")
    expect_error(page, "undecodable", "drone.aiff cannot be decoded")
    page.unroute("**/classify")


def test_a_recording_is_classified(visit, service):
    page = visit(service)
    page.get_by_role("button", name="Record").click()
    stop = page.get_by_role("button", name="Stop and classify")
    sync_api.expect(stop).to_be_focused()
    page.get_by_role("button", name="Discard").click()
    expect(page, "#recorder").to_be_hidden()
    expect(page, "#track-view").to_be_hidden()
    page.get_by_role("button", name="Record").click()
    expect(page, "#recorded-time").to_have_text(THREE_SECONDS_OR_MORE)
    stop.click()
    expect(page, "#track-name").to_have_text(re.compile("^Recording "))
    expect(page, "#predicted-genre .genre").to_have_text("whistle")
    page.click("#play")
    expect(page, "#current-time").to_have_text(ONE_SECOND_OR_MORE)


def test_keyboard_control(visit, service, audio_files):
    page = visit(service)
    page.on("filechooser", lambda chooser: None)  # intercept file choosers before Enter is pressed
    expect(page, "#genres li").to_have_count(len(LABELS))
    page.keyboard.press("Tab")
    expect(page, ".skip-link").to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page, "#choose").to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(audio_files / "two.flac")
    expect(page, "#predicted-genre .genre").to_have_text("bass")
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
    for _ in range(3):  # the scroll area, its first region, its second region
        page.keyboard.press("Tab")
    start = page.locator("#regions button").nth(1)
    sync_api.expect(start).to_be_focused()
    page.keyboard.press("Enter")
    minutes, seconds = start.text_content().split(":")
    sync_api.expect(slider).to_have_attribute("aria-valuenow", re.compile(re.escape(f"{float(seconds):.1f}")))
    assert minutes == "0"


def test_accessibility_tree(visit, service, audio_files):
    page = visit(service, expected_messages=("415",))
    choose(page, audio_files / "two.flac")
    expect(page, "#predicted-genre .genre").to_have_text("bass")
    choose(page, audio_files / "drone.mp3", audio_files / "text.mp3")
    expect(page, "#progress-text").to_contain_text("3 files: 2 classified, 1 failed")
    expect(page, "#status[aria-live=polite]").to_have_text("3 files: 2 classified, 1 failed")
    for role in ("banner", "main", "contentinfo"):
        sync_api.expect(page.get_by_role(role)).to_have_count(1)
    for region in ("Audio input", "two.flac", "Whole track", "Over time", "Files"):
        sync_api.expect(page.get_by_role("region", name=region, exact=True)).to_be_visible()
    assert unnamed_elements(page) == []
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_horizontal_overflow_on_a_phone(visit, service, audio_files, scheme):
    page = visit(service, expected_messages=("415",), viewport={"width": 360, "height": 740}, color_scheme=scheme)
    expect(page, "#genres li").to_have_count(len(LABELS))
    assert horizontal_overflow(page) == 0
    choose(page, audio_files / "two.flac")
    expect(page, "#predicted-genre .genre").to_have_text("bass")
    choose(page, audio_files / "text.mp3", audio_files / MARKUP, audio_files / "whistle.ogg")
    expect(page, "#progress-text").to_have_text("4 files: 3 classified, 1 failed")
    assert horizontal_overflow(page) == 0
    assert is_dark(page) == (scheme == "dark")


def test_response_headers_and_files(service, bento):
    with client_of(service, follow_redirects=True) as client:
        for path in ("/ui", "/ui/", "/ui/app.js", "/ui/limits.json", "/docs"):
            response = client.get(path)
            assert response.status_code == 200
            policy = response.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
        assert client.get("/ui/limits.json").json() == {
            "max_seconds": 9000.0,
            "max_bytes": 300_000_000,
            "feedback": None,
            "requires_token": False,
        }
        assert "BSD 3-Clause" in client.get("/ui/vendor/wavesurfer/LICENSE").text
        for path in ("/ui/nothing.js", "/ui/%2e%2e/__init__.py", "/ui/..%2f__init__.py"):
            assert client.get(path).status_code == 404
    assert files_in(bento / "src/genreflow/serving/ui") == files_in(ROOT / "src/genreflow/serving/ui")


def files_in(folder):
    return {
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
