"""Tests for drift: false alarms where tracks of an artist are alike, power, and the command with its verdict."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from genreflow import cli
from genreflow.bundle import Bundle
from genreflow.errors import GenreflowError, ParameterError
from genreflow.inference.predictor import Predictor
from genreflow.inference.reference import make_reference
from genreflow.monitoring.drift import compare
from genreflow.monitoring.drift_sample import EMBEDDING, PROBABILITIES, Sample
from genreflow.monitoring.last_check import CHECK_FILE, read_last_check
from genreflow.monitoring.null_distribution import smallest_p_values
from monitoring_toy import reference, tracks, with_reference, write_log
from serving_toy import write_tone, write_toy_bundle


def alarms(window_of, *, repetitions: int, seed: int = 0) -> float:
    """Return the share of windows that a test finds different from a reference of 40 artists with 3 tracks each."""
    found = 0
    for number in range(repetitions):
        rng = np.random.default_rng([seed, number])
        own = reference(tracks(rng, 40))
        tests = compare(Sample.of(own), own.groups, Sample.of(reference(window_of(rng))), divisions=999, seed=number)
        found += any(test.p_adjusted < 0.05 for test in tests)
    return found / repetitions


def test_tracks_of_the_same_artists_give_no_false_alarms():
    repetitions = 60
    share = alarms(lambda rng: tracks(rng, 25), repetitions=repetitions)
    # 5 % of 60 windows: more than 8 would have a probability of 0.3 %.
    assert share <= 8 / repetitions


def test_the_usual_p_values_would_give_false_alarms():
    """What the divisions of artists are for: the test above fails with tests that assume independent tracks."""
    found = 0
    for number in range(60):
        rng = np.random.default_rng([1, number])
        own, window = reference(tracks(rng, 40)), reference(tracks(rng, 25))
        p_values = [stats.ks_2samp(own.values[:, k], window.values[:, k]).pvalue for k in range(5)]
        found += min(p_values) * len(p_values) < 0.05  # Bonferroni
    assert found > 6


def test_shifts_are_found():
    assert alarms(lambda rng: tracks(rng, 25, level=-26.0), repetitions=10) >= 0.9
    assert alarms(lambda rng: tracks(rng, 25, shift=1.0), repetitions=10) >= 0.9


def test_the_test_that_differs_is_named():
    rng = np.random.default_rng(0)
    own, window = reference(tracks(rng, 40)), reference(tracks(rng, 25, level=-40.0))
    tests = {test.name: test for test in compare(Sample.of(own), own.groups, Sample.of(window))}
    assert {name for name, test in tests.items() if test.p_adjusted < 0.05} == {"level"}
    assert {EMBEDDING, PROBABILITIES, "confidence", "mean_1"} < set(tests)
    level = tests["level"]
    expected = stats.ks_2samp(own.values[:, 0], window.values[:, 0], method="asymp")
    assert (level.statistic, level.p_independent) == pytest.approx((expected.statistic, expected.pvalue))
    assert level.reference == pytest.approx(-20, abs=2)
    assert level.window == pytest.approx(-40, abs=2)
    assert level.p_value <= level.p_adjusted


def test_values_that_are_unknown_are_not_compared():
    rng = np.random.default_rng(0)
    own, window = reference(tracks(rng, 20)), reference(tracks(rng, 20))
    values = own.values.copy()
    values[:, 0] = np.nan
    own = dataclasses.replace(own, values=values, embeddings=np.zeros((60, 0), np.float16))
    names = {test.name for test in compare(Sample.of(own), own.groups, Sample.of(window))}
    assert not {"level", EMBEDDING} & names


def test_the_correction_of_p_values_is_that_of_westfall_and_young():
    rng = np.random.default_rng(0)
    null = rng.standard_normal((199, 4))
    null[:, 3] = null[:, 2]  # a test twice is one test
    observed = np.array([0.0, 10.0, np.quantile(null[:, 2], 0.97), np.quantile(null[:, 2], 0.97)])
    alone, adjusted = smallest_p_values(observed, null)
    expected = (1 + (null >= observed).sum(axis=0)) / 200
    np.testing.assert_allclose(alone, expected)
    p_of_draws = np.stack([[(null[:, k] >= value).mean() for value in null[:, k]] for k in range(4)], axis=1)
    smallest = p_of_draws.min(axis=1) * 199
    np.testing.assert_allclose(adjusted, [(1 + (smallest <= 200 * p).sum()) / 200 for p in alone])
    few = smallest_p_values(observed, null, degrees=8)
    assert (few[0] >= alone).all()
    assert few[0][1] == pytest.approx(2 * stats.t.sf(stats.norm.isf(alone[1] / 2), 8))
    assert (few[1] >= adjusted).all()
    assert 2.5 * alone[2] < adjusted[2] < 3.2 * alone[2]


def test_a_reference_of_few_artists_is_refused():
    own = reference(tracks(np.random.default_rng(0), 11))
    with pytest.raises(ParameterError, match="12 artists"):
        compare(Sample.of(own), own.groups, Sample.of(own))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Bundle:
    """A folder with a champion that has a reference, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENREFLOW_PREDICTION_LOG", raising=False)
    return with_reference(write_toy_bundle(tmp_path / "models" / "champion"))


def run(*arguments: str):
    return CliRunner().invoke(cli.cli, ["drift", *arguments])


def test_the_reference_is_part_of_a_bundle_and_does_not_change_its_model(tmp_path):
    bundle = write_toy_bundle(tmp_path / "bundle")
    assert bundle.drift_reference is None
    added = with_reference(bundle)
    assert added.hash == bundle.hash
    assert added.drift_reference.groups.max() == 29
    assert Bundle.load(added.directory).content_hash == added.content_hash
    file = added.directory / "reference.npz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(GenreflowError, match="SHA-256"):
        Bundle.load(added.directory)


def test_drift_is_an_exit_code_a_page_and_a_file_for_the_service(project, tmp_path):
    write_log(tmp_path / "monitoring", tracks(np.random.default_rng(5), 30), project.hash)
    ended = run("--no-mlflow")
    assert (ended.exit_code, ended.exception) == (0, None)
    assert "No drift" in ended.output
    check = tmp_path / "monitoring" / CHECK_FILE
    detected, checked = read_last_check(check, project.hash)
    assert not detected
    assert checked > 1.7e9
    assert read_last_check(check, "another") is None

    write_log(tmp_path / "other", tracks(np.random.default_rng(5), 30, level=-45.0), project.hash)
    ended = run("--log", "other", "--no-mlflow", "--json", "--report", "page.html")
    verdict = json.loads(ended.output)
    assert ended.exit_code == 3
    assert verdict["drift"] is True
    assert verdict["found"] == ["level"]
    assert verdict == json.loads((tmp_path / "other" / CHECK_FILE).read_text())
    assert (verdict["window"]["predictions"], verdict["reference"]["artists"]) == (90, 30)
    page = (tmp_path / "page.html").read_text()
    assert "Level" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_reference_measures_tracks_as_the_service_does(tmp_path):
    song = write_tone(tmp_path / "a.wav", "bass", 4.0)
    (tmp_path / "words.mp3").write_text("words")
    embedder = {"name": "toy", "licence": "none", "sha256": "0" * 64, "parameters": 1}
    for number, described in enumerate((None, embedder)):
        bundle = write_toy_bundle(tmp_path / f"bundle{number}", refuse_above=0.6, embedder=described)
        predictor = Predictor(bundle.directory)
        tracks_of = [(partial(predictor.analyse, tmp_path / name), name) for name in ("a.wav", "words.mp3", "a.wav")]
        made = make_reference(predictor.bundle, tracks_of, part="valid")
        assert (len(made.groups), len(set(made.groups.tolist()))) == (2, 1)  # what cannot be decoded is left out
        analysis = predictor.analyse(song)
        expected = analysis.inputs.to_features() | {"confidence": analysis.prediction.confidence}
        found = dict(zip(made.names, made.values[0].tolist(), strict=True))
        # Prototypes of a pretrained network are of validation tracks, too: these are nearer to them than others are.
        assert np.isnan(found.pop("unfamiliarity")) == (described is not None)
        assert found == pytest.approx(expected)
        np.testing.assert_array_equal(made.embeddings[1], analysis.embedding)


@pytest.mark.parametrize("content", ["", "{", '{"format": 1}', '{"format": 99}', "[]", "null"])
def test_a_damaged_check_is_none(tmp_path, content):
    (tmp_path / CHECK_FILE).write_text(content)
    assert read_last_check(tmp_path / CHECK_FILE, "any") is None


def test_a_check_is_a_run_in_mlflow(project, tmp_path, monkeypatch):
    from genreflow.tracking.store import open_client

    write_log(tmp_path / "monitoring", tracks(np.random.default_rng(5), 30), project.hash)
    assert run().exit_code == 0
    client = open_client()
    experiment = client.get_experiment_by_name("genreflow-monitoring")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.tags["bundle_hash"] == project.hash
    assert found.data.metrics["drift"] == 0
    assert 0.05 < found.data.metrics["p_value"] <= found.data.metrics["p_level"]
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"drift.html", CHECK_FILE}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--log", "nowhere"], "nowhere"),
        (["--bundle", "nowhere"], "nowhere"),
        (["--since", "yesterday"], "since"),
        (["--alpha", "0"], "alpha"),
        (["--since", "2100-01-01"], "monitoring"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(project, tmp_path, capsys, monkeypatch, arguments, named):
    write_log(tmp_path / "monitoring", tracks(np.random.default_rng(5), 30), project.hash)
    monkeypatch.setattr("sys.argv", ["genreflow", "drift", "--no-mlflow", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert named in error
    assert "Traceback" not in error
    assert not (tmp_path / "monitoring" / CHECK_FILE).exists()


@pytest.mark.parametrize(("case", "named"), [("empty", "got 0"), ("cut", "damaged"), ("other model", "version 3")])
def test_a_log_that_cannot_be_compared_is_one_sentence_and_keeps_the_last_verdict(
    project, tmp_path, capsys, monkeypatch, case, named
):
    log = write_log(tmp_path / "monitoring", tracks(np.random.default_rng(5), 30), project.hash)
    assert run("--no-mlflow").exit_code == 0
    before = (tmp_path / "monitoring" / CHECK_FILE).read_bytes()
    if case == "other model":
        log.unlink()
        write_log(tmp_path / "monitoring", tracks(np.random.default_rng(5), 30), "cd" * 32)
    else:
        log.write_bytes(b"" if case == "empty" else log.read_bytes()[:9000])
    monkeypatch.setattr("sys.argv", ["genreflow", "drift", "--no-mlflow"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert (tmp_path / "monitoring" / CHECK_FILE).read_bytes() == before


def test_a_bundle_without_a_reference_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle = write_toy_bundle(tmp_path / "models" / "champion")
    write_log(tmp_path / "monitoring", tracks(np.random.default_rng(5), 30), bundle.hash)
    ended = run("--no-mlflow")
    assert isinstance(ended.exception, GenreflowError)
    assert "dvc repro" in str(ended.exception)
