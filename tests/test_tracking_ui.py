"""A study in the MLflow UI: a real server, a real browser, and three clicks to the best trial."""

import math
import re
import shutil

import pytest
from mlflow import MlflowClient

from genreflow.tracking.datasets import TrainingDataset
from genreflow.tracking.saved_view import ACCURACY_VIEW
from genreflow.tracking.store import ensure_experiment
from genreflow.tracking.study import study_run
from genreflow.tracking.summary import describe_best_trial, log_reports
from genreflow.tracking.trials import StudyTrials
from mlflow_server import Server

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
]

MANIFEST, REVISION = "4f1c0ffee1234567", "c0ffee" * 6 + "abcd"
TAGS = {"manifest_hash": MANIFEST, "split_hash": "99aabbccddeeff00", "git_revision": REVISION, "git_dirty": "false"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a study of four trials, of which the third is the best."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "plots").mkdir()
    (folder / "plots" / "history.html").write_text("<p>history</p>")
    with Server(folder) as server:
        client = MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)
        experiment_id = ensure_experiment(client).experiment_id
        profile = {"train": 120, "valid": 24, "test": 24, "genres": ["bass", "drone", "whistle"]}
        dataset = TrainingDataset(name="demo", digest=MANIFEST, source="data/demo.yaml", profile=profile)
        with study_run(client, experiment_id, "study-1f2e3d", params={"epochs": 8}, tags=TAGS) as study:
            trials = StudyTrials(study, tags=TAGS, dataset=dataset, sample_interval=0.02)
            for number, speed in enumerate((3, 5, 2, 4)):
                trials.start(number, {"architecture": "efficient", "learning_rate": speed / 1000})
                for epoch in range(8):
                    loss = math.exp(-(epoch + 1) / speed)
                    trials.log_epoch(
                        number, epoch, {"loss": loss, "val_loss": loss, "val_track_accuracy": 0.9 - loss / 2}
                    )
                trials.end(number, "FINISHED", tags={"trial": "finished"}, metrics={"parameters": 123456})
            trials.stop()
            facts = {"architecture": "efficient", "val_track_accuracy": 0.8908, "finished": 4, "pruned": 0}
            describe_best_trial(study, number=2, run_id=None, facts=facts, lineage=TAGS)
        client.log_metric(study.run_id, "test_track_accuracy", 0.8)
        log_reports(client, study.run_id, [folder / "plots"], artifact_path="study")
        yield server


@pytest.fixture
def page(server):
    """The UI's front page in a new browser."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=300_000)
        try:
            context = browser.new_context(viewport={"width": 1600, "height": 1100})
            context.set_default_timeout(300_000)
            sync_api.expect.set_options(timeout=300_000)
            page = context.new_page()
            # Requests to other hosts, for fonts and usage counters, are no part of the test.
            context.route(lambda url: not url.startswith(server.uri), lambda route: route.abort())
            page.goto(server.uri)
            yield page
        finally:
            browser.close()


def follow(page, link):
    """Click a link of a description, which opens a new page."""
    with page.context.expect_page() as opened:
        link.click()
    return opened.value


def test_three_clicks_to_the_curves_of_the_best_trial_and_its_data(page, tmp_path):
    expect = sync_api.expect
    page.get_by_text("Model training", exact=True).click()  # 1: a new browser shows language models
    page.get_by_role("link", name="genreflow", exact=True).click()  # 2
    description = page.get_by_text(re.compile("Latest study"))
    expect(description).to_be_visible()
    expect(description).to_contain_text(MANIFEST)
    expect(description).to_contain_text(REVISION[:12])
    expect(description).to_contain_text("0.8908")
    expect(page.get_by_role("link", name="study-1f2e3d")).to_be_visible()
    page.screenshot(path=tmp_path / "1_experiment.png")
    curves = follow(page, page.get_by_role("link", name="learning curves"))  # 3
    expect(curves.get_by_role("heading", name="trial 2, efficient")).to_be_visible()
    expect(curves.get_by_text("val_track_accuracy", exact=True).first).to_be_visible()
    expect(curves.locator(".js-line").first).to_be_attached()
    curves.screenshot(path=tmp_path / "2_curves.png")


def test_the_saved_view_shows_accuracy(page, server, tmp_path):
    (key,) = ACCURACY_VIEW
    key = key.removeprefix("mlflow.sharedViewState.")
    page.goto(f"{server.uri}/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey={key}")
    for metric in ("best_val_track_accuracy", "test_track_accuracy"):
        sync_api.expect(page.get_by_role("columnheader", name=metric, exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / "7_view.png")


def test_the_study_links_to_its_best_trial_and_its_plots(page, tmp_path):
    expect = sync_api.expect
    page.get_by_text("Model training", exact=True).click()
    page.get_by_role("link", name="genreflow", exact=True).click()
    page.get_by_role("link", name="study-1f2e3d").click()
    expect(page.get_by_text(f"git checkout {REVISION[:12]} && dvc checkout")).to_be_visible()
    page.screenshot(path=tmp_path / "3_study.png")
    # The list of child runs has such a link, too; this is the one of the description.
    best = follow(page, page.get_by_role("paragraph").get_by_role("link", name="trial 2"))
    expect(best.get_by_role("heading", name="trial 2, efficient")).to_be_visible()
    best.get_by_text(f"demo ({MANIFEST})").first.click()
    expect(best.get_by_text("bass, drone, whistle")).to_be_visible()
    expect(best.get_by_text(f"git checkout {REVISION[:12]} && dvc checkout").first).to_be_visible()
    best.screenshot(path=tmp_path / "4_data.png")
    best.keyboard.press("Escape")
    best.get_by_text("System metrics", exact=True).first.click()
    expect(best.get_by_text("cpu_utilization_percentage").first).to_be_visible()
    best.screenshot(path=tmp_path / "5_system.png")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("study", exact=True).first.click()
    expect(page.get_by_text("history.html").first).to_be_visible()
    page.screenshot(path=tmp_path / "6_plots.png")
