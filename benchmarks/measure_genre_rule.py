"""How often the gate's rule on single genres refuses a candidate: without a loss, and with one.

    python benchmarks/measure_genre_rule.py [--comparisons 100]

Simulated predictions of a champion that is right for 70 % of the tracks, two tracks by each artist. Without a loss, the
candidate is as good in all of ten genres, and independent on 30 % of the tracks; it is refused if any genre shows a
loss of more than 0.1. With one, it loses the given share of all tracks in a single genre, and gains none.
"""

import argparse

import numpy as np

from genreflow.evaluation.paired import difference_interval
from genreflow.registry.params import GateParams

ACCURACY, INDEPENDENT, GENRES = 0.7, 0.3, 10
TRACKS, LOSSES = (10, 20, 40), (0.3, 0.5, 0.7)


def is_refused(champion: np.ndarray, candidate: np.ndarray) -> bool:
    artists = np.arange(len(champion)) // 2
    return difference_interval(candidate, champion, clusters=artists)[1] < -GateParams().max_genre_loss


def refuses_equal(rng: np.random.Generator, n: int) -> bool:
    for _ in range(GENRES):
        champion = rng.random(n) < ACCURACY
        candidate = np.where(rng.random(n) < INDEPENDENT, rng.random(n) < ACCURACY, champion)
        if is_refused(champion, candidate):
            return True
    return False


def refuses_loss(rng: np.random.Generator, n: int, loss: float) -> bool:
    champion = rng.random(n) < ACCURACY
    return is_refused(champion, champion & (rng.random(n) >= loss / ACCURACY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=100)
    comparisons = parser.parse_args().comparisons
    rng = np.random.default_rng(0)
    print("| tracks of a genre | equal | " + " | ".join(f"loses {loss:.0%}" for loss in LOSSES) + " |")
    print("| --- | --- |" + " --- |" * len(LOSSES))
    for n in TRACKS:
        shares = [np.mean([refuses_equal(rng, n) for _ in range(comparisons)])]
        shares += [np.mean([refuses_loss(rng, n, loss) for _ in range(comparisons)]) for loss in LOSSES]
        print(f"| {n} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
