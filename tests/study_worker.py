"""A worker of a study whose trials only sleep: what the tests start several of, and kill.

python study_worker.py STORAGE TRIALS SECONDS_AN_EPOCH [MACHINE]

With a machine named, it says that it works there; heartbeats are then those of HURRY, for all who read them.
"""

import os
import socket
import sys
import time

from genreflow.tuning import storage as storages
from genreflow.tuning.objectives import Goals
from genreflow.tuning.search_space import Search
from genreflow.tuning.storage import open_storage
from genreflow.tuning.study import Outcome, open_study, run_study

NAME, EPOCHS = "of-many", 5
ARCHITECTURES = ("efficient", "parallel_cnn")
HURRY = {"HEARTBEAT_S": 1, "GRACE_S": 4}


class Silent:
    """Writes nothing down; the number of a trial's process is in Optuna's storage."""

    def start(self, number, params, tags):
        print(f"begin {number} {os.getpid()} {tags.get('retry_of')}", flush=True)

    def epoch(self, number, epoch, metrics):
        pass

    def end(self, number, status, *, tags, metrics):
        print(f"end {number} {os.getpid()} {status}", flush=True)

    def run_id(self, number):
        return None


def main(storage_url: str, trials: int, seconds: float) -> None:
    def sleeps(configuration, watch):
        for epoch in range(EPOCHS):
            time.sleep(seconds)
            watch.epoch(epoch, {"val_track_accuracy": configuration.learning_rate * epoch})
        return Outcome(configuration.learning_rate * (EPOCHS - 1), EPOCHS, {})

    search = Search(architectures=ARCHITECTURES, trials=trials, epochs=EPOCHS, startup_trials=99)
    storage = open_storage(storage_url)
    study = open_study(search, Goals(), storage, name=NAME)
    run_study(study, storage, sleeps, search, Goals(), trials=Silent(), alone=False, say=lambda _: None)


if __name__ == "__main__":
    for machine in sys.argv[4:]:
        socket.gethostname = lambda machine=machine: machine
        vars(storages).update(HURRY)
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
