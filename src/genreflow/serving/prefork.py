"""Several processes that answer on one socket, forked from one that has loaded the model.

In one process the threads that classify and the one that reads requests wait for each other's Python lock: on two cores
two forked processes answer 1.7 times as many requests. They share the memory of what was loaded before.

Run as a script, it watches such processes: an interpreter with nothing loaded, since one that had forked them would
keep its own copy of all that they write to.
"""

import ctypes
import gc
import mmap
import os
import signal
import sys

CAN_FORK = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


class Tally:
    """A number to which each process adds, and which all see.

    Each writes a place of its own, so that there is no lock.

    Parameters
    ----------
    processes : int > 0
    """

    def __init__(self, processes: int) -> None:
        self._parts = memoryview(mmap.mmap(-1, 4 * processes)).cast("i")
        self._mine = 0

    def join(self, index: int) -> None:
        """Say which of the processes this one is, from 0."""
        self._mine = index

    def add(self, number: int) -> None:
        self._parts[self._mine] += number

    @property
    def total(self) -> int:
        return sum(self._parts)

    @property
    def is_uneven(self) -> bool:
        """Whether another process has less than this one, by more than one."""
        return self._parts[self._mine] > min(self._parts) + 1


def split(processes: int) -> int:
    """Go on in several processes.

    To be called while there is one thread. The calling process itself never returns but watches them: it hands SIGTERM
    and SIGINT on, and ends when they have; when one dies it ends the others, so that who started it starts all anew.
    They end when it dies.

    Parameters
    ----------
    processes : int > 0
        1 goes on in the calling process, as does a system other than Linux.

    Returns
    -------
    int >= 0
        Which of them this one is.
    """
    if processes == 1 or not CAN_FORK:
        return 0
    gc.collect()
    gc.freeze()  # what is collected is written to, and then no longer shared
    caller, workers = os.getpid(), []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)  # what comes until it watches waits
    for index in range(processes):
        pid = os.fork()
        if not pid:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != caller:  # which died before it could be noticed
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return index
        workers.append(str(pid))
    os.execv(sys.executable, [sys.executable, "-IS", __file__, *workers])


def _watch(workers: set[int]) -> int:
    """Wait until all have ended; the exit code of the first, if it did so by itself."""
    code, ending = 0, False
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    while True:
        for pid in list(workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            workers.remove(pid)
            if not ending:
                said = os.waitstatus_to_exitcode(status)
                how = f"with exit code {said}" if said >= 0 else f"by signal {-said}"
                print(f"A process of the service ended {how}; the others end too.", file=sys.stderr, flush=True)
                code, ending = said if said > 0 else 1, True
                _end(workers)
        if not workers:
            return code
        if signal.sigwait(_WATCHED) != signal.SIGCHLD:
            ending = True
            _end(workers)


def _end(workers: set[int]) -> None:
    for pid in workers:
        os.kill(pid, signal.SIGTERM)  # it is there, at least until it is waited for


if __name__ == "__main__":
    sys.exit(_watch({int(pid) for pid in sys.argv[1:]}))
