"""The plots of real Optuna studies, the smallest and oddest ones too."""

import csv
import json
import math
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from PIL import Image

from genreflow.reporting.study import Objective, draw_study
from genreflow.reporting.study.charts import number, numbers, spoken
from genreflow.reporting.study.importance import importances
from genreflow.reporting.study.page import figures
from genreflow.reporting.study.parallel import parallel_coordinates
from genreflow.reporting.study.rows import PALETTE, read_trials
from genreflow.reporting.study.views import history, importance, learning_curves, trade_off

# What an API says of its own end, and what matplotlib cannot place, would stand in a user's terminal.
pytestmark = pytest.mark.filterwarnings("error")

ONE = [Objective.named("track_accuracy")]
THREE = [Objective.named(name) for name in ("track_accuracy", "parameters", "memory_mb")]
PNGS = {"history.png", "pareto_front.png", "learning_curves.png", "importances.png", "parallel_coordinates.png"}
ALWAYS = {"study.html", "pareto_front.csv"}
ARCHITECTURES = ("cnn_gru", "efficient", "tiny_cnn")
RATE = FloatDistribution(1e-5, 1e-1, log=True)


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def trial(
    accuracy: float | None = None,
    *,
    architecture: str = "tiny_cnn",
    objectives: Sequence[Objective] = ONE,
    rate: float = 1e-3,
    state: TrialState = TrialState.COMPLETE,
    curve: Sequence[float] = (),
    constraints: dict[str, float] | None = None,
    costs: Sequence[float] = (1e5, 250.0),
    **attributes: object,
) -> FrozenTrial:
    """A trial as a study leaves it."""
    values = None if accuracy is None or state != TrialState.COMPLETE else [accuracy, *costs][: len(objectives)]
    return optuna.create_trial(
        state=state,
        values=values,
        params={"architecture": architecture, f"{architecture}.learning_rate": rate},
        distributions={
            "architecture": CategoricalDistribution(ARCHITECTURES),
            f"{architecture}.learning_rate": RATE,
        },
        user_attrs={"architecture": architecture, "val_track_accuracy_by_epoch": list(curve), **attributes},
        constraints=constraints,
    )


def study_of(trials: Sequence[FrozenTrial], objectives: Sequence[Objective] = ONE) -> optuna.Study:
    study = optuna.create_study(directions=["maximize" if of.higher_is_better else "minimize" for of in objectives])
    study.add_trials(trials)
    return study


def searched(storage: str | None, objectives: Sequence[Objective], trials: int = 24) -> optuna.Study:
    """A search over three architectures, each with a space of its own, with all ways in which a trial can end."""
    study = optuna.create_study(
        study_name="genre-0123456789",
        storage=storage,
        directions=["maximize" if of.higher_is_better else "minimize" for of in objectives],
        sampler=optuna.samplers.RandomSampler(seed=3),
    )

    def objective(running: optuna.Trial) -> Sequence[float]:
        name = running.suggest_categorical("architecture", ARCHITECTURES)
        rate = running.suggest_float(f"{name}.learning_rate", 1e-4, 1e-1, log=True)
        batch = running.suggest_categorical("train.batch_size", [16, 32, 64])
        units = running.suggest_int("cnn_gru.units", 16, 256, log=True) if name == "cnn_gru" else 64
        running.set_user_attr("architecture", name)
        parameters = 1000 * units
        running.set_user_attr("parameters", parameters)
        running.set_constraint("parameters", parameters / 100_000 - 1)
        if parameters > 100_000:
            running.set_user_attr("infeasible", f"{parameters} parameters, where <tune.max_params> is 100000")
            raise optuna.TrialPruned
        if running.number == 5:
            raise RuntimeError("out of memory")
        best = 0.8 - 0.1 * abs(math.log10(rate) + 2) + 0.02 * ARCHITECTURES.index(name) - batch / 2000
        curve = [best * (1 - 2.0**-epoch) for epoch in range(1, 7)]
        running.set_user_attr("val_track_accuracy_by_epoch", curve[:2] if best < 0.62 else curve)
        if best < 0.62:
            raise optuna.TrialPruned
        costs = {"parameters": parameters, "memory_mb": 200 + parameters / 1e3}
        return [max(curve), *(costs[of.name] for of in objectives[1:])]

    study.optimize(objective, n_trials=trials, catch=(RuntimeError,))
    lost = study.ask()
    lost.set_user_attr("interrupted", True)
    study.tell(lost, state=TrialState.FAIL)
    study.ask()
    study.enqueue_trial({"architecture": "tiny_cnn"})
    return study


def draw(study: optuna.Study, folder: Path, objectives: Sequence[Objective], **options) -> set[str]:
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE and math.isfinite(t.values[0])]
    best = max(complete, key=lambda t: t.values[0], default=None)
    front = study.best_trials if len(objectives) > 1 else filter(None, [best])
    options = {"front": [t.number for t in front], "chosen": best.number if best else None} | options
    paths = draw_study(study, folder, objectives=objectives, **options)
    assert paths == sorted(folder.iterdir())
    return {path.name for path in paths}


class Reader(HTMLParser):
    """Attributes and headings of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.attributes, self.headings, self.inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside in ("h1", "h2"):
            self.headings.append(data)


@pytest.mark.parametrize("objectives", [ONE, THREE], ids=["one", "three"])
def test_a_study_becomes_a_page_that_needs_no_other_host_and_pictures(tmp_path, objectives):
    study = searched(f"sqlite:///{tmp_path}/optuna.db" if objectives == ONE else None, objectives)
    assert draw(study, tmp_path / "study", objectives) == ALWAYS | PNGS
    text = (tmp_path / "study" / "study.html").read_text("utf-8")
    page = Reader(text)
    assert not [name for name, _ in page.attributes if name in ("src", "href", "srcset", "data")]
    assert "@import" not in text.split("<script>")[0]
    assert "url(" not in text.split("<script>")[0]
    assert text.count("* plotly.js v") == 1
    assert page.headings[0] == "Study genre-0123456789"
    assert "where &lt;tune.max_params&gt; is 100000" in text
    assert len(re.findall("<tr.* data-outcome=", text)) == len(study.trials) == 27
    for png in PNGS:
        with Image.open(tmp_path / "study" / png) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("L").getcolors()) > 10


def test_the_table_of_the_front_has_its_trials_best_first(tmp_path):
    study = study_of(
        [
            trial(0.7, objectives=THREE, costs=(9e4, 240.5)),
            trial(0.6, objectives=THREE, costs=(2e5, 260.0)),
            trial(0.8, objectives=THREE, costs=(3e5, 300.0), architecture="efficient"),
        ],
        THREE,
    )
    draw_study(study, tmp_path / "study", objectives=THREE, front=[0, 2], chosen=0)
    with (tmp_path / "study" / "pareto_front.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["trial", "architecture", "track_accuracy", "parameters", "memory_mb", "chosen"],
            ["2", "efficient", "0.8", "300000", "300", "false"],
            ["0", "tiny_cnn", "0.7", "90000", "240.5", "true"],
        ]


FAIL, PRUNED, RUNNING, WAITING = TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING
BOTH = {"history.png", "learning_curves.png"}
# name: (trials, which pictures a study of one objective has)
ODD = {
    "none": ([], set()),
    "one": ([{"accuracy": 0.5, "curve": [0.5]}], BOTH),
    "two": ([{"accuracy": a, "curve": [0.1, a]} for a in (0.5, 0.6)], BOTH | {"parallel_coordinates.png"}),
    "three with costs": (
        [{"accuracy": a, "parameters": 1000, "rate": a / 10} for a in (0.5, 0.6, 0.7)],
        {"history.png", "parallel_coordinates.png", "pareto_front.png"},
    ),
    "all equal": (
        [{"accuracy": 0.5, "rate": n / 100} for n in range(1, 9)],
        {"history.png", "parallel_coordinates.png"},
    ),
    "same hyperparameters": ([{"accuracy": n / 10} for n in range(1, 9)], {"history.png", "parallel_coordinates.png"}),
    "all pruned": ([{"state": PRUNED, "curve": [0.3, 0.2]}] * 3, BOTH | {"parallel_coordinates.png"}),
    "pruned before an epoch": ([{"state": PRUNED}] * 3, set()),
    "only failed": ([{"state": FAIL}, {"state": FAIL, "interrupted": True}], set()),
    "only infeasible": ([{"state": PRUNED, "constraints": {"parameters": 0.5}, "parameters": 10**8}] * 2, set()),
    "not finite": (
        [{"accuracy": math.inf}, {"accuracy": 0.5, "curve": [math.nan, 0.5], "memory_mb": math.nan}] * 3,
        BOTH | {"parallel_coordinates.png"},
    ),
    "only begun": ([{"state": RUNNING, "curve": [0.2]}, {"state": WAITING}], BOTH),
}


@pytest.mark.parametrize("objectives", [ONE, THREE], ids=["one", "three"])
@pytest.mark.parametrize(("trials", "pictures"), ODD.values(), ids=ODD)
def test_small_and_odd_studies_say_what_they_lack(tmp_path, trials, pictures, objectives):
    study = study_of([trial(**of, objectives=objectives) for of in trials], objectives)
    if objectives == THREE and any(of.get("accuracy") for of in trials):
        pictures = pictures | {"pareto_front.png"}
    assert draw(study, tmp_path / "study", objectives) == ALWAYS | pictures
    text = (tmp_path / "study" / "study.html").read_text("utf-8")
    figures_there = re.findall(r'<script type="application/json">(.*?)</script>', text)
    assert len(figures_there) >= len(pictures)
    assert not [figure for figure in figures_there if "NaN" in figure or "Infinity" in figure]
    lacks = {
        "history.png": "No trial has a track accuracy yet.",
        "pareto_front.png": "No trial has both a track accuracy and a cost yet.",
        "learning_curves.png": "No trial has finished an epoch yet.",
        "parallel_coordinates.png": "It takes two trials with a track accuracy",
    }
    for png, sentence in lacks.items():
        assert (sentence in text) is (png not in pictures)
    assert "It takes 4 finished trials" in text or "finished trials do not differ in" in text


def test_a_folder_is_replaced_whole_and_only_when_all_is_drawn(tmp_path):
    folder = tmp_path / "study"
    draw(searched(None, ONE), folder, ONE)
    (folder / "old.png").touch()
    assert draw(study_of([trial(0.5)]), folder, ONE) == ALWAYS | {"history.png"}
    with pytest.raises(ValueError, match="zip"):
        draw_study(study_of([trial(0.5)]), folder, objectives=THREE, front=[], chosen=None)
    assert {path.name for path in folder.iterdir()} == ALWAYS | {"history.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


@pytest.mark.parametrize("mark", ["", "leaking "])
def test_a_study_with_a_leaking_split_says_so_in_every_title(tmp_path, mark):
    study = searched(None, ONE, trials=8)
    draw(study, tmp_path / "study", ONE, mark=mark)
    headings = Reader((tmp_path / "study" / "study.html").read_text("utf-8")).headings
    titles = [heading for heading in headings if not heading.startswith("★")]
    assert len(titles) == 7
    assert [title.startswith("Leaking ") for title in titles] == [bool(mark)] * 7
    assert ("The split leaks" in (tmp_path / "study" / "study.html").read_text("utf-8")) is bool(mark)
    rows = read_trials(study, ONE, front=[], chosen=None)
    shares = importances(rows, "track_accuracy")
    drawn = [view(rows, ONE, mark) for view in (history, trade_off, learning_curves)]
    drawn += [importance(rows, shares, mark), parallel_coordinates(rows, ONE, shares, mark)]
    assert all(chart.title.startswith(mark) for chart in drawn)


def test_learning_rates_of_all_architectures_and_optimisers_count_as_one():
    domain = {"architecture": CategoricalDistribution(ARCHITECTURES), "train.batch_size": IntDistribution(8, 64)}
    trials = []
    for n in range(40):
        name = ARCHITECTURES[n % 3]
        key = f"{name}.learning_rate" + (".sgd" if n % 2 else "")
        rate = 10.0 ** -(1 + n * 7 % 40 / 10)
        trials.append(
            optuna.create_trial(
                value=0.9 - 0.1 * abs(math.log10(rate) + 3),
                params={"architecture": name, key: rate, "train.batch_size": 8 + n * 11 % 50, f"{name}.own": 0.1},
                distributions={**domain, key: RATE, f"{name}.own": FloatDistribution(0, 1)},
            )
        )
    rows = read_trials(study_of(trials), ONE, front=[], chosen=None)
    shares = importances(rows, "track_accuracy")
    assert next(iter(shares)) == "learning_rate"
    assert shares["learning_rate"] > 0.8
    assert set(shares) == {"learning_rate", "train.batch_size", "architecture"}
    assert sum(shares.values()) == pytest.approx(1)


def test_parallel_axes_say_where_a_trial_has_no_such_hyperparameter():
    study = searched(None, ONE)
    rows = read_trials(study, ONE, front=[], chosen=None)
    chart = parallel_coordinates(rows, ONE, {"learning_rate": 0.9}, "")
    axes = {axis.title: axis for axis in chart.axes}
    assert list(axes)[:2] == ["architecture", "learning rate"]
    assert list(axes)[-1] == ONE[0].title
    of = {row.number: place for row, place in zip(chart.rows, axes["units"].places, strict=True)}
    assert {study.trials[n].params["architecture"] for n, place in of.items() if place is not None} == {"cnn_gru"}
    assert all(place is None for n, place in of.items() if study.trials[n].params["architecture"] != "cnn_gru")
    best = max(chart.rows, key=lambda row: row.values["track_accuracy"])
    assert axes[ONE[0].title].places[chart.rows.index(best)] == 1
    for axis in chart.axes:
        assert all(-1e-9 <= place <= 1 + 1e-9 for place, _ in axis.ticks)
        assert len({words for _, words in axis.ticks}) == len(axis.ticks)


def test_an_architecture_keeps_its_colour_and_every_ending_its_symbol(tmp_path):
    study = searched(None, THREE)
    rows = read_trials(study, THREE, front=[0], chosen=0)
    names = list(dict.fromkeys(row.architecture for row in rows if row.architecture))
    assert {row.architecture: row.colour for row in rows if row.architecture} == dict(zip(names, PALETTE, strict=False))
    endings = {"complete", "pruned", "infeasible", "failed", "interrupted", "running", "waiting"}
    assert {row.outcome for row in rows} == endings
    for chart in (history(rows, THREE, ""), trade_off(rows, THREE, ""), learning_curves(rows, THREE, "")):
        looks = {}
        for series in (series for panel in chart.panels for series in panel.series if series.architecture):
            assert series.colour == PALETTE[names.index(series.architecture)]
            if series.symbol and series.symbol != "star":
                looks.setdefault(series.outcome, set()).add(series.symbol)
        assert all(len(symbols) == 1 for symbols in looks.values())
        assert len({symbol for symbols in looks.values() for symbol in symbols}) == len(looks)


def test_the_front_of_two_objectives_is_a_line_from_cheap_to_accurate():
    two = [Objective.named("track_accuracy"), Objective.named("latency_ms")]
    trials = [trial(a, objectives=two, costs=(cost,)) for a, cost in ((0.8, 9.0), (0.5, 2.0), (0.7, 4.0), (0.6, 8.0))]
    rows = read_trials(study_of(trials, two), two, front=[0, 1, 2], chosen=0)
    (panel,) = trade_off(rows, two, "").panels
    (line,) = [series for series in panel.series if series.line]
    assert list(zip(line.x, line.y, strict=True)) == [(2.0, 0.5), (4.0, 0.7), (9.0, 0.8)]
    assert sum(len(series.x) for series in panel.series if series.ring) == 3


def test_a_broken_constraint_is_read_from_optuna_as_well():
    study = study_of([trial(0.5, constraints={"latency_ms": 0.25}), trial(0.4, constraints={"latency_ms": -0.1})])
    rows = read_trials(study, ONE, front=[1], chosen=1)
    assert [row.outcome for row in rows] == ["infeasible", "complete"]
    assert [row.reason for row in rows] == ["latency_ms: 0.25 too much", ""]
    best = history(rows, ONE, "").panels[0].series[0]
    assert best.y == [0.4, 0.4]


def test_plotly_knows_every_property_of_the_figures():
    from plotly.graph_objects import Figure

    rows = read_trials(searched(None, THREE), THREE, front=[0], chosen=0)
    shares = importances(rows, "track_accuracy")
    charts = [view(rows, THREE, "") for view in (history, trade_off, learning_curves)]
    charts += [importance(rows, shares, ""), parallel_coordinates(rows, THREE, shares, "")]
    drawn = [figure for chart in charts for figure in figures(chart)]
    assert len(drawn) == 6
    for figure in drawn:
        Figure(json.loads(re.sub("@(ink|quiet|line|card)", "#000000", json.dumps(figure, allow_nan=False))))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.8154, "0.8154"),
        (9999, "9999"),
        (9999.9, "10 k"),
        (22050, "22.1 k"),
        (999_999, "1 M"),
        (2.4e6, "2.4 M"),
        (0, "0"),
    ],
)
def test_numbers_are_short(value, words):
    assert number(value) == words
    assert numbers([value, 5e9]) == [words, "5 G"]


def test_numbers_beside_each_other_can_be_told_apart():
    assert numbers([23_000, 23_001]) == ["23000", "23001"]


def test_hyperparameters_are_said_as_people_say_them():
    names = {
        "train.batch_size": "batch size",
        "segments.seconds": "segment length [s]",
        "learning_rate": "learning rate",
    }
    assert {name: spoken(name) for name in names} == names


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium here")
def test_the_page_draws_filters_and_sorts_in_a_browser(tmp_path):
    browsers = pytest.importorskip("playwright.sync_api")
    study = searched(None, THREE)
    draw(study, tmp_path / "study", THREE)
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 390, "height": 800})
            errors, requests = [], []
            page.on("pageerror", lambda error: errors.append(error))
            page.on("request", lambda request: requests.append(request.url))
            page.goto((tmp_path / "study" / "study.html").as_uri())
            page.wait_for_function("document.querySelectorAll('.plot .main-svg').length >= 6")
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            rows = page.locator("tbody tr:visible")
            assert rows.count() == len(study.trials)
            page.locator("label", has_text="cnn_gru").click()
            kept = [t for t in study.trials if t.params.get("architecture") != "cnn_gru"]
            assert rows.count() == len(kept)
            assert page.evaluate("plots.at(-1).data[0].line.color.length") == sum(
                bool(t.user_attrs.get("val_track_accuracy_by_epoch")) for t in kept
            )
            page.locator("th", has_text="Track accuracy").click()
            page.locator("th", has_text="Track accuracy").click()
            best = max((t for t in kept if t.values), key=lambda t: t.values[0])
            assert rows.first.locator("td").first.inner_text().split()[0] == str(best.number)
            assert errors == []
            assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
        finally:
            browser.close()
