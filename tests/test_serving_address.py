"""`bentoml serve` on an address that it cannot listen on: one sentence and exit code 2, without a traceback."""

import os
import socket
import subprocess
import sys

import click
import pytest

from genreflow.serving.address import AddressError, check_address
from serving_toy import write_toy_bundle


def check(**params):
    with click.Context(click.Command("serve")) as current:
        current.params = params
        check_address()


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("host", [None, "0.0.0.0", "127.0.0.1"])
def test_a_port_in_use(taken, host):
    with pytest.raises(AddressError, match=str(taken)):
        check(bento=".", host=host, port=taken)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 3000), ("nohost.invalid", 3000), (None, 99999), (None, -1)])
def test_an_address_that_is_none_of_this_machine(host, port):
    with pytest.raises(AddressError, match=str(port)):
        check(bento=".", host=host, port=port)


def test_a_free_port_and_other_commands(taken):
    check(bento=".", host="127.0.0.1", port=0)
    check(host="127.0.0.1", port=taken)  # not `bentoml serve`
    check_address()


def test_bentoml_serve_ends_with_one_sentence(root, tmp_path, taken):
    (tmp_path / "bentofile.yaml").write_bytes((root / "bentofile.yaml").read_bytes())
    write_toy_bundle(tmp_path / "models" / "champion")
    command = [sys.executable, "-m", "bentoml", "serve", "--port", str(taken)]
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "BENTOML_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert str(taken) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
