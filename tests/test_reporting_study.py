"""The report on real Optuna studies, including the smallest and the oddest ones."""

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
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from genreflow.errors import GenreflowError
from genreflow.files import write_json
from genreflow.reporting.study import Study, load_study, write_report
from genreflow.reporting.study.data import ACCURACY, PALETTE, STATES
from genreflow.reporting.study.formatting import format_number, format_numbers, label
from genreflow.reporting.study.page import draw_charts, figures
from genreflow.reporting.study.parallel import parallel_coordinates
from genreflow.reporting.study.views import history, trade_off
from genreflow.tuning.objectives import directions
from genreflow.tuning.params import TuneParams
from genreflow.tuning.results import study_record

# A library's deprecation warning would be shown in the user's terminal; `open_storage` ignores experimental ones.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]

FILES = {"study.html", "pareto_front.csv"}
ARCHITECTURES = ("cnn_gru", "efficient", "tiny_cnn")
ONE = TuneParams(architectures=ARCHITECTURES)
TWO = TuneParams(architectures=ARCHITECTURES, objectives=(ACCURACY, "latency_ms"))
THREE = TuneParams(architectures=ARCHITECTURES, objectives=(ACCURACY, "parameters", "memory_mb"))
RATE = FloatDistribution(1e-5, 1e-1, log=True)


@pytest.fixture(scope="module", autouse=True)
def _quiet_optuna():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def make_trial(
    accuracy: float | None = None,
    *,
    architecture: str = "tiny_cnn",
    tune: TuneParams = ONE,
    rate: float = 1e-3,
    state: TrialState = TrialState.COMPLETE,
    curve: Sequence[float] = (),
    costs: Sequence[float] = (1e5, 250.0),
    **attributes: object,
) -> FrozenTrial:
    """Return a trial as a study leaves it."""
    values = None if accuracy is None or state != TrialState.COMPLETE else [accuracy, *costs][: len(tune.objectives)]
    return optuna.create_trial(
        state=state,
        values=values,
        params={"architecture": architecture, f"{architecture}.learning_rate": rate},
        distributions={
            "architecture": CategoricalDistribution(ARCHITECTURES),
            f"{architecture}.learning_rate": RATE,
        },
        user_attrs={"architecture": architecture, "val_track_accuracy_by_epoch": list(curve), **attributes},
    )


def make_study(trials: Sequence[FrozenTrial], tune: TuneParams = ONE) -> optuna.Study:
    study = optuna.create_study(study_name="genre-0123456789", directions=directions(tune))
    study.add_trials(trials)
    return study


def search(tune: TuneParams, trials: int = 24) -> optuna.Study:
    """Run a search over three architectures with different spaces, whose trials end in all possible states."""
    study = optuna.create_study(
        study_name="genre-0123456789", directions=directions(tune), sampler=optuna.samplers.RandomSampler(seed=3)
    )

    def objective(running: optuna.Trial) -> Sequence[float]:
        name = running.suggest_categorical("architecture", ARCHITECTURES)
        rate = running.suggest_float(f"{name}.learning_rate", 1e-4, 1e-1, log=True)
        batch = running.suggest_categorical("train.batch_size", [16, 32, 64])
        units = running.suggest_int("cnn_gru.units", 16, 256, log=True) if name == "cnn_gru" else 64
        running.set_user_attr("architecture", name)
        parameters = 1000 * units
        running.set_user_attr("parameters", parameters)
        if parameters > 100_000:
            running.set_user_attr("infeasible", f"{parameters} parameters, where <tune.max_params> is 100000")
            raise optuna.TrialPruned
        if running.number == 5:
            running.set_user_attr("error", "RuntimeError: out of memory")
            raise RuntimeError("out of memory")
        best = 0.8 - 0.1 * abs(math.log10(rate) + 2) + 0.02 * ARCHITECTURES.index(name) - batch / 2000
        curve = [best * (1 - 2.0**-epoch) for epoch in range(1, 7)]
        running.set_user_attr("val_track_accuracy_by_epoch", curve[:2] if best < 0.62 else curve)
        if best < 0.62:
            raise optuna.TrialPruned
        costs = {"parameters": parameters, "memory_mb": 200 + parameters / 1e3}
        return [max(curve), *(costs[name] for name in tune.objectives[1:])]

    study.optimize(objective, n_trials=trials, catch=(RuntimeError,))
    lost = study.ask()
    lost.set_user_attr("interrupted", True)
    study.tell(lost, state=TrialState.FAIL)
    study.ask()
    study.enqueue_trial({"architecture": "tiny_cnn"})
    return study


def read(study: optuna.Study, folder: Path, tune: TuneParams = ONE, *, leaking: bool = False, **changes) -> Study:
    """Return a study as the report reads it from the file that `tune` writes."""
    path = folder / "trials.json"
    write_json(path, {**study_record(study, tune), "leaking": leaking, "mlflow_run": None, **changes})
    return load_study(path)


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


@pytest.mark.parametrize("tune", [ONE, THREE], ids=["one", "three"])
def test_the_page_makes_no_network_requests_and_lists_all_trials(tmp_path, tune):
    study = search(tune)
    write_report(read(study, tmp_path, tune), tmp_path / "study")
    assert {path.name for path in (tmp_path / "study").iterdir()} == FILES
    text = (tmp_path / "study" / "study.html").read_text("utf-8")
    page = Reader(text)
    assert not [name for name, _ in page.attributes if name in ("src", "href", "srcset", "data")]
    assert "@import" not in text.split("<script>")[0]
    assert "url(" not in text.split("<script>")[0]
    assert text.count("* plotly.js v") == 1
    assert page.headings[0] == "Study genre-0123456789"
    assert "where &lt;tune.max_params&gt; is 100000" in text
    assert len(re.findall("<tr.* data-state=", text)) == len(study.trials) == 27


def test_the_pareto_front_is_a_table_in_descending_order_of_accuracy(tmp_path):
    trials = [
        make_trial(0.7, tune=THREE, costs=(9e4, 240.5)),
        make_trial(0.6, tune=THREE, costs=(2e5, 260.0)),
        make_trial(0.8, tune=THREE, costs=(3e5, 300.0), architecture="efficient"),
    ]
    write_report(read(make_study(trials, THREE), tmp_path, THREE, chosen=0), tmp_path / "study")
    with (tmp_path / "study" / "pareto_front.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["trial", "architecture", "track_accuracy", "parameters", "memory_mb", "chosen"],
            ["2", "efficient", "0.8", "300000", "300", "false"],
            ["0", "tiny_cnn", "0.7", "90000", "240.5", "true"],
        ]


FAIL, PRUNED, RUNNING, WAITING = TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING
BOTH = {"history", "learning_curves"}
# name: (trials, the charts that a study of one objective has)
ODD = {
    "none": ([], set()),
    "one": ([{"accuracy": 0.5, "curve": [0.5]}], BOTH),
    "two": ([{"accuracy": a, "curve": [0.1, a]} for a in (0.5, 0.6)], BOTH | {"parallel_coordinates"}),
    "three with costs": (
        [{"accuracy": a, "parameters": 1000, "rate": a / 10} for a in (0.5, 0.6, 0.7)],
        {"history", "parallel_coordinates", "pareto_front"},
    ),
    "all equal": ([{"accuracy": 0.5, "rate": n / 100} for n in range(1, 9)], {"history", "parallel_coordinates"}),
    "same hyperparameters": ([{"accuracy": n / 10} for n in range(1, 9)], {"history", "parallel_coordinates"}),
    "all pruned": ([{"state": PRUNED, "curve": [0.3, 0.2]}] * 3, BOTH | {"parallel_coordinates"}),
    "pruned before an epoch": ([{"state": PRUNED}] * 3, set()),
    "only failed": ([{"state": FAIL}, {"state": FAIL, "interrupted": True}], set()),
    "only infeasible": ([{"state": PRUNED, "infeasible": "too large", "parameters": 10**8}] * 2, set()),
    "NaN on the curve": (
        [{"accuracy": 0.5, "curve": [math.nan, 0.5]}] * 3,
        BOTH | {"parallel_coordinates"},
    ),
    "only started": ([{"state": RUNNING, "curve": [0.2]}, {"state": WAITING}], BOTH),
}
EXPLANATIONS = {
    "history": "No trial has a track accuracy yet.",
    "pareto_front": "No trial has both a track accuracy and a cost yet.",
    "learning_curves": "No trial has finished an epoch yet.",
    "parallel_coordinates": "Parallel coordinates need at least two trials",
    "importances": "Importances need at least four finished trials",
}


@pytest.mark.parametrize("tune", [ONE, THREE], ids=["one", "three"])
@pytest.mark.parametrize(("trials", "charts"), ODD.values(), ids=ODD)
def test_a_plot_without_enough_trials_is_replaced_with_a_sentence(tmp_path, trials, charts, tune):
    study = make_study([make_trial(**fields, tune=tune) for fields in trials], tune)
    if tune is THREE and any(fields.get("accuracy") for fields in trials):
        charts = charts | {"pareto_front"}
    record = read(study, tmp_path, tune)
    assert {chart.key for chart in draw_charts(record) if not chart.empty} == charts
    write_report(record, tmp_path / "study")
    text = (tmp_path / "study" / "study.html").read_text("utf-8")
    drawn = re.findall(r'<script type="application/json">(.*?)</script>', text)
    assert len(drawn) >= len(charts)
    assert not [figure for figure in drawn if "NaN" in figure or "Infinity" in figure]
    for key, sentence in EXPLANATIONS.items():
        assert (sentence in text) is (key not in charts)


def test_the_folder_is_replaced_as_a_whole_or_left_as_it_was(tmp_path):
    folder = tmp_path / "report" / "study"
    write_report(read(search(ONE), tmp_path), folder)
    (folder / "old.png").touch()
    study = read(make_study([make_trial(0.5, curve=[0.5])]), tmp_path)
    write_report(study, folder)
    assert {path.name for path in folder.iterdir()} == FILES
    page = (folder / "study.html").read_bytes()
    broken = Study(name="broken", objectives=[], trials=[])
    with pytest.raises(IndexError):
        write_report(broken, folder)
    assert (folder / "study.html").read_bytes() == page
    assert [path.name for path in folder.parent.iterdir()] == ["study"]


@pytest.mark.parametrize("leaking", [False, True])
def test_every_title_of_a_study_with_a_leaking_split_says_so(tmp_path, leaking):
    study = read(search(ONE, trials=8), tmp_path, leaking=leaking)
    write_report(study, tmp_path / "study")
    text = (tmp_path / "study" / "study.html").read_text("utf-8")
    titles = [heading for heading in Reader(text).headings if not heading.startswith("★")]
    assert len(titles) == 7
    assert [title.startswith("Leaking ") for title in titles] == [leaking] * 7
    assert ("The split leaks" in text) is leaking
    assert all(chart.title.startswith("leaking ") is leaking for chart in draw_charts(study))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"study": "a", "trials": [{"number": 0}]}'])
def test_a_file_that_is_no_study_is_named(tmp_path, content):
    path = tmp_path / "trials.json"
    with pytest.raises(GenreflowError, match=r"trials\.json"):
        load_study(path)
    path.write_text(content)
    with pytest.raises(GenreflowError, match=r"trials\.json"):
        load_study(path)


def test_parallel_axes_show_which_trials_lack_a_hyperparameter(tmp_path):
    study = search(ONE)
    chart = parallel_coordinates(read(study, tmp_path, importances={"learning_rate": 0.9}))
    axes = {axis.title: axis for axis in chart.axes}
    accuracy = "Track accuracy on validation"
    assert list(axes)[:2] == ["architecture", "learning rate"]
    assert list(axes)[-1] == accuracy
    units = {trial.number: position for trial, position in zip(chart.trials, axes["units"].positions, strict=True)}
    for number, position in units.items():
        assert (position is not None) == (study.trials[number].params["architecture"] == "cnn_gru")
    best = max(chart.trials, key=lambda trial: trial.values[ACCURACY])
    assert axes[accuracy].positions[chart.trials.index(best)] == 1
    for axis in chart.axes:
        assert all(-1e-9 <= position <= 1 + 1e-9 for position, _ in axis.ticks)
        assert len({text for _, text in axis.ticks}) == len(axis.ticks)


def test_an_architecture_keeps_its_colour_and_a_state_its_symbol(tmp_path):
    study = read(search(THREE), tmp_path, THREE)
    names = list(dict.fromkeys(trial.architecture for trial in study.trials if trial.architecture))
    colours = {trial.architecture: trial.colour for trial in study.trials if trial.architecture}
    assert colours == dict(zip(names, PALETTE, strict=False))
    assert {trial.state for trial in study.trials} == set(STATES)
    for chart in draw_charts(study):
        symbols = {}
        for series in (series for panel in chart.panels for series in panel.series if series.architecture):
            assert series.colour == PALETTE[names.index(series.architecture)]
            if series.symbol and series.symbol != "star":
                symbols.setdefault(series.state, set()).add(series.symbol)
        assert all(len(found) == 1 for found in symbols.values())
        assert len(set().union(*symbols.values())) == len(symbols)


def test_the_pareto_front_of_two_objectives_is_a_line_in_ascending_order_of_cost(tmp_path):
    results = ((0.8, 9.0), (0.5, 2.0), (0.7, 4.0), (0.6, 8.0))
    trials = [make_trial(accuracy, tune=TWO, costs=(cost,)) for accuracy, cost in results]
    (panel,) = trade_off(read(make_study(trials, TWO), tmp_path, TWO)).panels
    (line,) = [series for series in panel.series if series.line]
    assert list(zip(line.x, line.y, strict=True)) == [(2.0, 0.5), (4.0, 0.7), (9.0, 0.8)]
    assert sum(len(series.x) for series in panel.series if series.outlined) == 3


def test_an_infeasible_trial_is_not_the_best_so_far(tmp_path):
    trials = [make_trial(0.5, infeasible="25 ms, where the limit is 20"), make_trial(0.4)]
    study = read(make_study(trials), tmp_path)
    assert [trial.state for trial in study.trials] == ["infeasible", "finished"]
    assert [trial.reason for trial in study.trials] == ["25 ms, where the limit is 20", ""]
    best = history(study).panels[0].series[0]
    assert best.y == [0.4, 0.4]


def test_plotly_accepts_every_property_of_the_figures(tmp_path):
    from plotly.graph_objects import Figure

    drawn = [figure for chart in draw_charts(read(search(THREE), tmp_path, THREE)) for figure in figures(chart)]
    assert len(drawn) == 6
    for figure in drawn:
        Figure(json.loads(re.sub("@(text|muted|line|card)", "#000000", json.dumps(figure, allow_nan=False))))


@pytest.mark.parametrize(
    ("value", "text"),
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
def test_numbers_are_short(value, text):
    assert format_number(value) == text
    assert format_numbers([value, 5e9]) == [text, "5 G"]


def test_similar_numbers_on_one_axis_are_distinguishable():
    assert format_numbers([23_000, 23_001]) == ["23000", "23001"]


def test_hyperparameters_have_readable_labels():
    labels = {
        "train.batch_size": "batch size",
        "segments.seconds": "segment length [s]",
        "learning_rate": "learning rate",
    }
    assert {name: label(name) for name in labels} == labels


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_the_page_draws_filters_and_sorts_in_a_browser(tmp_path):
    browsers = pytest.importorskip("playwright.sync_api")
    from chromium import TIMEOUT_MS

    study = search(THREE)
    write_report(read(study, tmp_path, THREE), tmp_path / "study")
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"], timeout=TIMEOUT_MS
        )
        try:
            page = browser.new_page(viewport={"width": 390, "height": 800})
            page.set_default_timeout(TIMEOUT_MS)
            errors, requests = [], []
            page.on("pageerror", lambda error: errors.append(error))
            page.on("request", lambda request: requests.append(request.url))
            page.goto((tmp_path / "study" / "study.html").as_uri())
            page.wait_for_function("document.querySelectorAll('.plot .main-svg').length >= 6")
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            rows = page.locator("tbody tr:visible")
            assert rows.count() == len(study.trials)
            page.locator("label", has_text="cnn_gru").click()
            kept = [trial for trial in study.trials if trial.params.get("architecture") != "cnn_gru"]
            assert rows.count() == len(kept)
            assert page.evaluate("plots.at(-1).data[0].line.color.length") == sum(
                bool(trial.user_attrs.get("val_track_accuracy_by_epoch")) for trial in kept
            )
            page.locator("th", has_text="Track accuracy").click()
            page.locator("th", has_text="Track accuracy").click()
            best = max((trial for trial in kept if trial.values), key=lambda trial: trial.values[0])
            assert rows.first.locator("td").first.inner_text().split()[0] == str(best.number)
            assert errors == []
            assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
        finally:
            browser.close()
