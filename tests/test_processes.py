"""Whether the process that wrote something has ended."""

import json
import os
import subprocess
import sys

from genreflow.processes import has_ended, this_process

PRINT = "import json; from genreflow.processes import this_process; print(json.dumps(this_process()))"


def test_a_process_that_runs_has_not_ended():
    assert has_ended(this_process()) is False


def test_a_process_has_ended_before_and_after_its_parent_asks_how():
    with subprocess.Popen([sys.executable, "-c", PRINT], stdout=subprocess.PIPE) as child:
        record = json.loads(child.stdout.read())
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        assert has_ended(record) is True
        child.wait()
        assert has_ended(record) is True


def test_a_process_with_the_number_of_an_earlier_one_is_another_one():
    record = this_process()
    assert has_ended({**record, "started": record["started"] - 60}) is True


def test_a_process_on_another_machine_cannot_be_seen():
    assert has_ended({**this_process(), "host": "elsewhere"}) is None
