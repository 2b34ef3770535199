"""`bentoml serve` that cannot start: one sentence and exit code 2, without a traceback and without a restart loop."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import click
import psutil
import pytest

from conftest import ROOT
from genreflow.costs.service_process import SERVICE, served
from genreflow.serving.settings import Settings
from genreflow.serving.supervisor import check_address, prepare_supervisor
from genreflow.serving.worker import SUPERVISOR_VARIABLE, StartError, end_service, start_errors
from serving_toy import write_toy_bundle
from waiting import wait_for


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle").directory


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_port_in_use(taken, host):
    with pytest.raises(StartError, match=str(taken)):
        check_address(host, taken)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 3000), ("127.0.0.1", 99999), ("127.0.0.1", -1)])
def test_an_address_that_is_none_of_this_machine(host, port):
    with pytest.raises(StartError, match=str(port)):
        check_address(host, port)


@pytest.mark.parametrize("host", ["localhost", "nohost.invalid", "", "127.0.0"])
def test_a_host_that_bentoml_does_not_take(host):
    with pytest.raises(StartError, match="IP address"):
        check_address(host, 0)


def test_a_free_port():
    check_address("127.0.0.1", 0)
    check_address("::1", 0)


def test_an_unknown_error_keeps_its_traceback_a_known_one_is_a_sentence():
    with pytest.raises(KeyError), start_errors():
        raise KeyError("bug")
    with pytest.raises(StartError, match="enough memory"), start_errors():
        raise MemoryError
    assert issubclass(StartError, click.ClickException)
    assert StartError.exit_code == 2


def test_a_worker_does_not_end_what_is_not_its_supervisor(monkeypatch):
    end_service()  # there is none
    monkeypatch.setenv(SUPERVISOR_VARIABLE, str(os.getpid()))  # not its parent
    end_service()


def serve(tmp_path, *arguments, target=SERVICE, prepare=None, **environment):
    """Run ``bentoml serve`` until it ends by itself."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML_", "GENREFLOW_"))}
    own = {"BENTOML_HOME": str(tmp_path / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    (tmp_path / "work").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", target, *arguments],
        cwd=tmp_path / "work",
        env=inherited | own | environment,
        preexec_fn=prepare,
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_one_sentence(done, *, containing):
    assert done.returncode == 2
    assert containing in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].endswith(".")
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error:")]) == 1
    assert "Traceback" not in done.stderr + done.stdout


def test_bentoml_serve_on_a_port_in_use(tmp_path, taken, bundle):
    done = serve(tmp_path, "--port", str(taken), GENREFLOW_BUNDLE=str(bundle))
    assert_one_sentence(done, containing=str(taken))


@pytest.mark.parametrize(
    "setting", ["GENREFLOW_PROCESSES=many", "GENREFLOW_TOKEN=two words", "GENREFLOW_ALLOWED_HOSTS=https://a.example"]
)
def test_a_bad_setting(tmp_path, bundle, setting):
    name, _, value = setting.partition("=")
    done = serve(tmp_path, "--port", "0", **{"GENREFLOW_BUNDLE": str(bundle), name: value})
    assert_one_sentence(done, containing=name)


def remove_everything(bundle):
    shutil.rmtree(bundle)


def change_a_byte(bundle):
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[100] ^= 1
    (bundle / "model.onnx").write_bytes(data)


def replace_file_by_directory(bundle):
    (bundle / "filters.npz").unlink()
    (bundle / "filters.npz").mkdir()


@pytest.mark.parametrize("damage", [remove_everything, change_a_byte, replace_file_by_directory])
def test_a_bundle_that_cannot_be_read(tmp_path, bundle, damage):
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    damage(copy)
    done = serve(tmp_path, "--port", "0", GENREFLOW_BUNDLE=str(copy))
    assert_one_sentence(done, containing=str(copy))


def test_the_supervisor_checks_a_bundle_without_numpy(bundle):
    code = (
        "import sys, genreflow.serving.service, genreflow.serving.supervisor as supervisor\n"
        "supervisor.verify_files(supervisor.Path(sys.argv[1]))\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, bundle], check=True)


def test_workers_that_cannot_start_end_the_service(tmp_path, bundle):
    """The supervisor finds no fault, and then no worker has space for its metrics."""
    limit = (100_000, 100_000)  # a file of metrics is larger
    done = serve(
        tmp_path,
        "--port",
        "0",
        GENREFLOW_BUNDLE=str(bundle),
        GENREFLOW_PROCESSES="1",
        prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert_one_sentence(done, containing="metrics")


def workers_of(service):
    return [each for each in psutil.Process(service.process.pid).children() if each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, 2])
def test_a_bundle_that_becomes_unreadable_later(tmp_path, bundle, killed):
    """Workers that serve go on; when there is none, the service ends."""
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    with served(environment={"GENREFLOW_BUNDLE": str(copy)}, watch=False) as service:
        wait_for(lambda: service.log.read_text().count("initialized") == 2)
        change_a_byte(copy)
        for worker in workers_of(service)[:killed]:
            worker.kill()
        if killed == 2:
            assert service.process.wait(300) == 2
        else:
            wait_for(lambda: "damaged" in service.log.read_text())
            service.wait_until_ready()
            time.sleep(1)
            assert service.process.poll() is None
        assert str(copy) in service.log.read_text()
        assert "Traceback" not in service.log.read_text()


def test_workers_end_with_a_supervisor_that_is_killed(bundle):
    with served(environment={"GENREFLOW_BUNDLE": str(bundle)}, watch=False) as service:
        workers = workers_of(service)
        assert len(workers) == 2
        service.process.kill()
        psutil.wait_procs(workers, timeout=300)
        assert not any(worker.is_running() for worker in workers)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", service.port))


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "127.0.0.1:3000"),
        ({"BENTOML_CONTAINERIZED": "true"}, "0.0.0.0:3000"),
        ({"BENTOML_CONFIG": "{folder}/config.yaml"}, "192.0.2.7:3210"),
    ],
)
def test_where_it_listens_unless_the_command_line_says_otherwise(tmp_path, environment, address):
    (tmp_path / "config.yaml").write_text("services: {genre-classifier: {http: {host: 192.0.2.7, port: 3210}}}\n")
    code = (
        "from genreflow.serving.service import GenreClassifier as service\n"
        "from genreflow.serving.bentoml_patches import configured_address\n"
        "service.inject_config()\n"
        "print(*configured_address(), sep=':')"
    )
    given = {name: value.format(folder=tmp_path) for name, value in environment.items()}
    variables = {**os.environ, "BENTOML_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT / "src"), **given}
    run = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [address]


def test_a_service_that_other_machines_reach_says_so(tmp_path, bundle, monkeypatch, caplog):
    monkeypatch.setenv(SUPERVISOR_VARIABLE, "")  # restored afterwards
    handler = signal.getsignal(signal.SIGUSR1)
    for host, token, logged in (
        ("0.0.0.0", "", "without a token"),
        ("::", "secret", "all addresses"),
        ("127.0.0.1", "", ""),
    ):
        caplog.clear()
        with caplog.at_level("INFO"), click.Context(click.Command("serve")) as context:
            context.params = {"bento": ".", "host": host, "port": 0}
            settings = Settings(bundle=str(bundle), token=token)
            prepare_supervisor(settings, working_dir=str(tmp_path), address=("127.0.0.1", 3000))
        assert logged in caplog.text
        assert bool(caplog.text) == bool(logged)
    signal.signal(signal.SIGUSR1, handler)
