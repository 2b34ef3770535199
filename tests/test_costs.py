"""Latency and memory of a bundle, and the service process that is measured: it always ends without a trace."""

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from genreflow.bundle import write_bundle
from genreflow.costs import latency, memory
from genreflow.costs.clips import make_clip
from genreflow.costs.latency import latency_ms
from genreflow.costs.memory import memory_mib
from genreflow.costs.service_process import reserved_port, served
from genreflow.errors import GenreflowError
from serving_toy import LABELS, SPEC, write_toy_bundle
from waiting import wait_for


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture(scope="module")
def broken(bundle, tmp_path_factory):
    """A valid bundle whose model file is no ONNX model."""
    return write_bundle(
        tmp_path_factory.mktemp("broken") / "bundle",
        onnx=b"no model",
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
    """The directory for temporary directories, to see that none remains."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    return directory


def processes(bundle):
    """Return the processes of the service that serves `bundle`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GENREFLOW_BUNDLE") == str(bundle.directory):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_latency_is_measured(bundle):
    assert latency_ms(bundle.directory, calls=3) > 0


def test_measuring_latency_imports_neither_bentoml_nor_onnx_runtime(bundle):
    code = "import sys\nfrom genreflow.costs.latency import latency_ms\nlatency_ms(sys.argv[1], calls=1)\n" + (
        "assert not {'bentoml', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(bundle.directory)], check=True)


def test_a_slow_model_is_timed_by_fewer_calls(bundle, monkeypatch):
    times = latency.time_calls(bundle.directory, 5)
    assert len(times) == 5
    assert min(times) > 0
    monkeypatch.setattr(latency, "MAX_SECONDS", 0.0)
    assert len(latency.time_calls(bundle.directory, 5)) == latency.MIN_CALLS


def test_memory_is_of_all_processes_with_the_default_settings(bundle, temporary, monkeypatch):
    # The caller's own settings do not apply: with this one the clip would be refused.
    monkeypatch.setenv("GENREFLOW_MAX_MINUTES", "0.001")
    monkeypatch.setenv("GENREFLOW_PROCESSES", "1")
    monkeypatch.setattr(memory, "LOAD_SECONDS", 0.5)
    measured = []
    send_load = memory.send_load

    def send_load_and_measure(service, clip):
        send_load(service, clip)
        measured.append(service.memory())
        wait_for(lambda: service.peak >= 0.9 * sum(measured[0].values()))  # it is sampled, and the end comes at once

    monkeypatch.setattr(memory, "send_load", send_load_and_measure)
    peak = memory_mib(bundle.directory)
    [by_process] = measured
    assert len(by_process) == 3  # the supervisor and two workers
    assert peak >= 0.9 * sum(by_process.values()) > 0
    assert not processes(bundle)
    assert not list(temporary.iterdir())


def test_an_interrupt_ends_the_service(bundle, temporary):
    with pytest.raises(KeyboardInterrupt), served(environment={"GENREFLOW_BUNDLE": str(bundle.directory)}):  # noqa: PT012
        assert len(processes(bundle)) >= 2
        raise KeyboardInterrupt
    assert not processes(bundle)
    assert not list(temporary.iterdir())


def test_workers_whose_supervisor_was_killed_are_ended(bundle, temporary):
    with served(environment={"GENREFLOW_BUNDLE": str(bundle.directory)}, watch=False) as service:
        service.process.kill()
        service.process.wait()
    assert not processes(bundle)
    assert not list(temporary.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a port free for a server")
def test_a_reserved_port_is_for_one_server():
    with reserved_port() as port:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(server.getsockname()):
            pass
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of the connection above, the system keeps a trace
        other.bind(("127.0.0.1", port))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the service of a killed process")
def test_the_service_ends_when_its_parent_is_killed(bundle, tmp_path):
    code = "import sys, time\nfrom genreflow.costs.service_process import served\n" + (
        "with served(environment={'GENREFLOW_BUNDLE': sys.argv[1]}):\n    print('ready', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(bundle.directory)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            assert len(processes(bundle)) >= 2
        finally:
            process.send_signal(signal.SIGKILL)
    wait_for(lambda: not processes(bundle))


@pytest.mark.parametrize("measure", [latency_ms, memory_mib])
def test_a_directory_without_a_bundle_is_an_error(measure, tmp_path):
    with pytest.raises(GenreflowError, match=r"bundle\.json"):
        measure(tmp_path)


@pytest.mark.parametrize("measure", [latency_ms, memory_mib])
def test_a_model_that_does_not_run_is_an_error(measure, broken, temporary):
    with pytest.raises(GenreflowError, match=r"model\.onnx"):
        measure(broken.directory)
    assert not processes(broken)
    assert not list(temporary.iterdir())


def test_a_clip_that_is_refused_is_an_error(bundle, temporary):
    environment = {"GENREFLOW_BUNDLE": str(bundle.directory), "GENREFLOW_MAX_MINUTES": "0.001"}
    with served(environment=environment) as service, pytest.raises(GenreflowError, match=r"413: .*too_long"):
        memory.send_load(service, make_clip(SPEC.sample_rate, 6.0))


def test_a_service_that_does_not_exist_is_an_error_with_its_output(temporary):
    with pytest.raises(GenreflowError, match=r"exit code 1[^$]*nowhere"), served("nowhere:Service"):
        pass
    assert not list(temporary.iterdir())
