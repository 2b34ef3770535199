"""How a split changes while a collection grows, with the record of divided groups and without it.

    python benchmarks/measure_split_growth.py [--collections 20] [--json]

Collections of 8 genres and 200 tracks grow by 20, 20 and 200 tracks. Artists have 1 to 20 tracks (geometric, mean 3), a
tenth of the artists play in two genres, and a third of the new tracks are by artists who are there already. Each row is
the mean over the collections; "fresh" is the split that `dvc repro` would make of the same tracks without the record.
"""

import argparse
import json
import random

import numpy as np

from genreflow.audit.faults import Audit
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS, Track
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.splits.split import Split
from genreflow.splits.split_record import SplitRecord

STEPS = (200, 20, 20, 200)
GENRES = 8
MEAN_TRACKS = 3
OF_KNOWN_ARTISTS = 1 / 3
COLUMNS = ("tracks", "artists", "moved", "moved_fresh", "train", "valid", "test", "balance", "balance_fresh")


class Collection:
    """A collection that grows by tracks of known and of new artists."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.tracks: list[Track] = []
        self.genres_of: dict[str, list[str]] = {}

    def grow(self, number: int) -> None:
        wanted = len(self.tracks) + number
        while len(self.tracks) < wanted:
            if self.genres_of and self.rng.random() < OF_KNOWN_ARTISTS:
                self._add(self.rng.choice(sorted(self.genres_of)), 1)
            else:
                artist = f"artist {len(self.genres_of):04}"
                self.genres_of[artist] = self.rng.sample(
                    [f"genre {genre}" for genre in range(GENRES)], 2 if self.rng.random() < 0.1 else 1
                )
                size = 1
                while size < 20 and self.rng.random() > 1 / MEAN_TRACKS:
                    size += 1
                self._add(artist, min(size, wanted - len(self.tracks)))

    def _add(self, artist: str, number: int) -> None:
        for _ in range(number):
            name = f"{len(self.tracks):05}"
            genre = self.rng.choice(self.genres_of[artist])
            self.tracks.append(
                Track(id=name, genre=genre, path=f"{name}.wav", group=artist, group_source="folder", hash=name)
            )

    def split(self, record: SplitRecord | None = None) -> Split:
        return make_split(Manifest.from_tracks("folder", self.tracks), Audit((), {}, {}), SplitParams(), record)


def part_of(split: Split) -> dict[str, str]:
    return {track: part for part in PARTS for track in split.parts[part]}


def count_moved(before: Split | None, after: Split) -> int:
    """Return the number of tracks that are in another part than before."""
    former = part_of(before) if before else {}
    present = part_of(after)
    return sum(present[track] != part for track, part in former.items())


def imbalance(split: Split) -> float:
    """Return the mean over genres and parts of the deviation from the genre's wanted share."""
    shares = SplitParams().fractions
    deviations = []
    for genre in split.report["train"]:
        counts = np.array([split.report[part][genre]["tracks"] for part in PARTS])
        deviations.append(np.abs(counts / counts.sum() - shares).mean())
    return float(np.mean(deviations))


def measure(seed: int) -> list[dict[str, float]]:
    collection, record = Collection(seed), SplitRecord()
    before: Split | None = None
    fresh_before: Split | None = None
    rows = []
    for number in STEPS:
        collection.grow(number)
        split, fresh = collection.split(record), collection.split()
        n = len(collection.tracks)
        rows.append(
            {
                "tracks": n,
                "artists": len(set(split.groups.values())),
                "moved": count_moved(before, split),
                "moved_fresh": count_moved(fresh_before, fresh),
                **{part: len(split.parts[part]) / n for part in PARTS},
                "balance": imbalance(split),
                "balance_fresh": imbalance(fresh),
            }
        )
        before, fresh_before = split, fresh
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--collections", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = [measure(seed) for seed in range(arguments.collections)]
    means = [
        {name: float(np.mean([rows[step][name] for rows in measured])) for name in COLUMNS}
        for step in range(len(STEPS))
    ]
    if arguments.json:
        print(json.dumps(means, indent=2))
        return
    print("| tracks | artists | moved | moved, fresh | train, valid, test | imbalance | imbalance, fresh |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in means:
        shares = ", ".join(f"{row[part]:.1%}" for part in PARTS)
        moved = f"{row['moved']:.0f} | {row['moved_fresh']:.0f}"
        balance = f"{row['balance']:.1%} | {row['balance_fresh']:.1%}"
        print(f"| {row['tracks']:.0f} | {row['artists']:.0f} | {moved} | {shares} | {balance} |")


if __name__ == "__main__":
    main()
