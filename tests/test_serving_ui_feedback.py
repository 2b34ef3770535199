"""The control "This is wrong" of the page at /ui, in a real browser: only where the service takes feedback."""

import httpx
import pytest

from chromium import expect, horizontal_overflow, launch, needs_chromium, unnamed_elements, visits
from genreflow.costs.service_process import served
from genreflow.feedback.feedback_records import FeedbackRecords
from serving_toy import LABELS, write_tone
from waiting import wait_for

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return FeedbackRecords(tmp_path_factory.mktemp("service") / "feedback")


@pytest.fixture(scope="module")
def service(bento_home, records):
    environment = {
        "BENTOML_HOME": bento_home,
        "GENREFLOW_FEEDBACK_DIR": str(records.folder),
        "GENREFLOW_FEEDBACK_AUDIO": "true",
        "GENREFLOW_FEEDBACK_DAYS": "7",
    }
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_tone(tmp_path_factory.mktemp("audio") / "bass.wav", "bass", 5.0)


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.fixture
def visit(browser):
    with visits(browser) as visit:
        yield lambda service, **options: visit(service.url, "/ui", **options)


def classified(page, song):
    page.set_input_files("#files", str(song))
    expect(page, "#predicted-genre .genre").to_have_text("bass")
    return page


def test_a_user_says_what_the_genre_is(visit, service, records, song):
    page = visit(service)
    expect(page, "#retention").to_contain_text("the audio for up to 7 days")
    classified(page, song)
    page.click("#feedback button")
    expect(page, "#feedback-genre").to_be_focused()
    expect(page, "#feedback-genre").to_have_value("")  # nothing is chosen in advance
    options = page.locator("#feedback-genre option").all_text_contents()
    assert options == ["Choose …", *(label for label in LABELS if label != "bass"), "None of these genres"]
    page.click("#feedback [type=submit]")  # the browser asks for a choice
    expect(page, "#feedback form").to_be_visible()
    assert not list(records.claimed())
    assert unnamed_elements(page) == []
    assert horizontal_overflow(page) == 0

    wait_for(lambda: list(records.folder.glob("*/*.json")))  # the service waits for the record less than a second
    page.select_option("#feedback-genre", label="drone")
    page.fill("#feedback-comment", "a <b>bordun</b>")
    page.click("#feedback [type=submit]")
    expect(page, "#feedback").to_have_text("You said: drone. Thank you.")
    [entry] = records.claimed()
    assert (entry.record.genre, entry.claim.genre, entry.claim.comment) == ("bass", "drone", "a <b>bordun</b>")


def test_none_of_the_genres_and_a_refusal_are_shown(visit, service, records, song):
    page = visit(service, expected_messages=("409",), viewport={"width": 360, "height": 700})
    with page.expect_response("**/classify") as answered:
        classified(page, song)
    prediction_id = answered.value.json()["prediction_id"]
    wait_for(lambda: list(records.folder.glob(f"*/{prediction_id}.json")))
    page.click("#feedback button")
    page.select_option("#feedback-genre", label="None of these genres")
    assert horizontal_overflow(page) == 0
    other = {"prediction_id": prediction_id, "genre": "whistle"}
    assert httpx.post(f"{service.url}/feedback", json=other, timeout=300).status_code == 200
    page.click("#feedback [type=submit]")
    expect(page, "#feedback .problem").to_contain_text("other feedback")
    page.click("#feedback .quiet")
    expect(page, "#feedback form").to_be_hidden()
    expect(page, "#feedback button").to_be_focused()
    assert records.read(prediction_id).claim.genre == "whistle"

    with page.expect_response("**/classify") as answered:
        page.set_input_files("#files", str(song))
    expect(page, "#predicted-genre .genre").to_have_text("bass")
    wait_for(lambda: list(records.folder.glob(f"*/{answered.value.json()['prediction_id']}.json")))
    page.click("#feedback button")
    page.select_option("#feedback-genre", label="None of these genres")
    page.click("#feedback [type=submit]")
    expect(page, "#feedback").to_have_text("You said: none of these genres. Thank you.")
    assert records.read(answered.value.json()["prediction_id"]).claim.genre is None


def test_a_service_without_feedback_has_no_control(visit, bento_home, song):
    with served("genre-classifier:latest", environment={"BENTOML_HOME": bento_home}, watch=False) as service:
        page = classified(visit(service), song)
        page.wait_for_load_state("networkidle")
        expect(page, "#feedback").to_be_empty()
        expect(page, "#retention").to_be_hidden()
        assert httpx.post(f"{service.url}/feedback", json={}, timeout=300).status_code == 404
