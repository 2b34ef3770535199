"""A worker of a study whose trials only sleep, for tests that start several of them and kill some.

python study_worker.py STORAGE TRIALS SECONDS_PER_EPOCH [NAME]

The first trial lasts until standard input is closed.
"""

import os
import socket
import sys
import time

from genreflow.logs import configure_logging
from genreflow.tuning.params import TuneParams
from genreflow.tuning.run_trial import TrialResult
from genreflow.tuning.search_space import SearchSpace
from genreflow.tuning.storage import open_storage
from genreflow.tuning.study import open_study, run_study

NAME, EPOCHS = "shared", 5
ARCHITECTURES = ("efficient", "parallel_cnn")
SPACE = SearchSpace(ARCHITECTURES, learning_rate=None, fixed={}, dimensions={})
# Environment variable with the name of the machine that the worker believes to be on.
MACHINE = "STUDY_WORKER_MACHINE"
HEARTBEAT_INTERVAL_S = 1
# Environment variable with the age of a heartbeat after which a trial is repeated.
GRACE_PERIOD_S = "STUDY_WORKER_GRACE_PERIOD_S"


class PrintingTracker:
    """Prints when trials start and end."""

    def start(self, number, params, tags):
        print(f"start {number} {os.getpid()}", flush=True)

    def log_epoch(self, number, epoch, metrics):
        pass

    def end(self, number, status, *, tags, metrics):
        print(f"end {number} {os.getpid()} {status}", flush=True)

    def run_id(self, number):
        return None

    def end_orphaned(self, states):
        pass


def main(storage_url: str, trials: int, seconds: float, name: str = NAME) -> None:
    def sleep(configuration, callback):
        sys.stdin.read()  # at its end in later trials
        for epoch in range(EPOCHS):
            time.sleep(seconds)
            callback.on_epoch_end(epoch, {"val_track_accuracy": configuration.learning_rate * epoch})
        return TrialResult(configuration.learning_rate * (EPOCHS - 1), EPOCHS)

    tune = TuneParams(architectures=ARCHITECTURES, trials=trials, epochs=EPOCHS, startup_trials=99)
    grace_period = int(os.environ[GRACE_PERIOD_S])
    storage = open_storage(storage_url, heartbeat_interval=HEARTBEAT_INTERVAL_S, grace_period=grace_period)
    study = open_study(tune, SPACE, storage, name=name)
    run_study(study, storage, sleep, tune=tune, space=SPACE, tracker=PrintingTracker(), parallel=True)


if __name__ == "__main__":
    configure_logging()
    if machine := os.environ.get(MACHINE):
        socket.gethostname = lambda: machine
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:])
