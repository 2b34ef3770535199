"""Time and memory of a bundle as it is served, by a service of which nothing is left."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from genreflow.bundle import write_bundle
from genreflow.costs import measure as footprint
from genreflow.costs.measure import latency_ms, memory_mib
from genreflow.costs.service_process import served
from genreflow.errors import GenreflowError
from serving_toy import LABELS, SPEC, write_toy_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture(scope="module")
def broken(bundle, tmp_path_factory):
    """Whole as a bundle, but what it holds is no net."""
    return write_bundle(
        tmp_path_factory.mktemp("broken") / "bundle",
        onnx=b"no net",
        labels=LABELS,
        spec=SPEC,
        bank=bundle.bank,
        segment_frames=bundle.segment_frames,
        segment_hop=bundle.segment_hop,
        temperature=1.0,
        abstain_below=0.0,
        architecture="toy",
        lineage={},
    )


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary folders go, so that one that stays is seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def processes(bundle):
    """Those of the service that serves `bundle`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GENREFLOW_BUNDLE") == str(bundle.directory):
                found.append(process)
        except psutil.Error:
            continue
    return found


def all_gone(bundle, seconds=0):
    end = time.monotonic() + seconds
    while (left := processes(bundle)) and time.monotonic() < end:
        time.sleep(0.1)
    for process in left:
        process.kill()
    return not left


def test_latency_is_measured_in_a_process_of_its_own(bundle):
    assert latency_ms(bundle.directory, calls=3) > 0


def test_who_measures_latency_needs_no_bentoml(bundle):
    code = "import sys\nfrom genreflow.costs.measure import latency_ms\nlatency_ms(sys.argv[1], calls=1)\n" + (
        "assert not {'bentoml', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(bundle.directory)], check=True)


def test_calls_are_counted_and_those_of_a_slow_net_are_few(bundle, monkeypatch):
    times = footprint._time_calls(bundle.directory, 5)
    assert len(times) == 5
    assert min(times) > 0
    monkeypatch.setattr(footprint, "LATENCY_SECONDS", 0.0)
    assert len(footprint._time_calls(bundle.directory, 5)) == footprint.LEAST_CALLS


def test_memory_is_of_all_processes_and_nothing_is_left(bundle, temporary, monkeypatch):
    # An operator's limits, which the clip is beyond, are not those of the measurement.
    monkeypatch.setenv("GENREFLOW_MAX_MINUTES", "0.001")
    monkeypatch.setattr(footprint, "LOAD_SECONDS", 0.5)
    seen = []

    def watched(service, clip):
        load(service, clip)
        seen.append(service.memory())

    load = footprint._load
    monkeypatch.setattr(footprint, "_load", watched)
    peak = memory_mib(bundle.directory)
    [by_process] = seen
    assert len(by_process) >= 2  # supervisor and worker
    assert peak >= 0.9 * sum(by_process.values()) > 0
    assert all_gone(bundle)
    assert not list(temporary.iterdir())


def test_an_interrupt_ends_the_service(bundle, temporary):
    with pytest.raises(KeyboardInterrupt), served(environment={"GENREFLOW_BUNDLE": str(bundle.directory)}):  # noqa: PT012
        assert len(processes(bundle)) >= 2
        raise KeyboardInterrupt
    assert all_gone(bundle)
    assert not list(temporary.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends the service of a process that was killed")
def test_the_service_does_not_outlive_a_killed_process(bundle, tmp_path):
    code = "import sys, time\nfrom genreflow.costs.service_process import served\n" + (
        "with served(environment={'GENREFLOW_BUNDLE': sys.argv[1]}):\n    print('ready', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(bundle.directory)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            assert len(processes(bundle)) >= 2
        finally:
            process.send_signal(signal.SIGKILL)
    assert all_gone(bundle, seconds=30)


@pytest.mark.parametrize("measure", [latency_ms, memory_mib])
def test_what_is_no_bundle_is_told(measure, tmp_path):
    with pytest.raises(GenreflowError, match="holds no bundle"):
        measure(tmp_path)


@pytest.mark.parametrize("measure", [latency_ms, memory_mib])
def test_a_net_that_does_not_run_is_told(measure, broken, temporary):
    with pytest.raises(GenreflowError, match="is not a model that ONNX Runtime can run"):
        measure(broken.directory)
    assert all_gone(broken)
    assert not list(temporary.iterdir())


def test_a_refused_clip_is_told(bundle, temporary):
    environment = {"GENREFLOW_BUNDLE": str(bundle.directory), "GENREFLOW_MAX_MINUTES": "0.001"}
    told = pytest.raises(GenreflowError, match=r"status 413, not 200: .*too_long")
    with served(environment=environment) as service, told:
        footprint._load(service, footprint.make_clip(SPEC.sample_rate, 6.0))


def test_a_service_that_does_not_exist_is_told_with_what_it_said(temporary):
    with pytest.raises(GenreflowError, match=r"ended with exit code 1[^$]*nowhere"), served("nowhere:Service"):
        pass
    assert not list(temporary.iterdir())
