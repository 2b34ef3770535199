"""Write the pictures of the documentation, docs/images/*.png: screenshots of a finished run of the demo.

Run by `make pictures`. Needs Chromium, and the results of `make run` on the demo music: the pictures show what a user
gets, and nothing that others have rights in.
"""

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import requests
import soundfile
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from genreflow.audit.directory import audit_directory
from genreflow.audit.params import AuditParams
from genreflow.costs.service_process import served
from genreflow.errors import GenreflowError
from genreflow.manifest.manifest import Manifest
from genreflow.params import load_params
from genreflow.reporting.audit.page import write_page
from genreflow.splits.split import Split
from genreflow.stages import AUDIT_PAGE, CHAMPION, EVALUATION_PAGE, MANIFEST, RAW, SPLIT, STUDY

IMAGES = Path(__file__).resolve().parent / "images"
MAX_BYTES = 150_000
COLOURS = (256, 128, 64, 32)
WIDTH, HEIGHT = 1200, 800
TIMEOUT_MS = 90_000
GENRES_IN_MIX = 3
PAGES = {"study": STUDY / "study.html", "evaluation": EVALUATION_PAGE}


def check_project() -> None:
    """Check that the working directory has results on the demo music, and that Chromium is installed.

    Raises
    ------
    GenreflowError
    """
    if (source := load_params().data.source) != "demo":
        raise GenreflowError(f"params.yaml: data.source must be demo for pictures; got {source}.")
    needed = (*PAGES.values(), AUDIT_PAGE, MANIFEST, SPLIT, CHAMPION)
    if missing := [str(path) for path in needed if not path.exists()]:
        raise GenreflowError(f"{missing[0]} must exist; run `make run` first.")
    if shutil.which("chromium") is None:
        raise GenreflowError("chromium must be installed for pictures; got no such command.")


def held_out_tracks() -> list[Path]:
    """Return a test track of each of some genres."""
    tracks = {track.id: track for track in Manifest.load(MANIFEST).tracks}
    chosen: dict[str, Path] = {}
    for name in Split.load(SPLIT).test:
        chosen.setdefault(tracks[name].genre, RAW / tracks[name].path)
    return list(chosen.values())[:GENRES_IN_MIX]


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    y, rate = soundfile.read(path, always_2d=True)
    return y.mean(axis=1), rate


def write_mix(path: Path) -> None:
    """Write held-out tracks of several genres, one after the other."""
    tracks = [read_mono(track) for track in held_out_tracks()]
    soundfile.write(path, np.concatenate([y for y, _ in tracks]), tracks[0][1])


def write_faulty_folder(folder: Path) -> None:
    """Write a folder of demo music with copies at another level, a cut file, silence, and a file that is not audio."""
    for genre, track in enumerate(held_out_tracks()):
        copy = folder / track.relative_to(RAW)
        copy.parent.mkdir(parents=True)
        shutil.copyfile(track, copy)
        y, rate = read_mono(track)
        soundfile.write(copy.with_name("louder.wav"), np.clip(2.5 * y, -1, 1), rate)
        if genre == 0:
            shutil.copyfile(track, copy.with_name("the same again.flac"))
            soundfile.write(copy.with_name("silence.wav"), np.zeros(5 * rate), rate)
            copy.with_name("notes.mp3").write_text("not audio")
        if genre == 1:
            soundfile.write(copy.with_name("whole.wav"), y, rate)
            whole = copy.with_name("whole.wav")
            copy.with_name("interrupted download.wav").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
            whole.unlink()


@contextmanager
def mlflow_ui() -> Iterator[str]:
    """Run `mlflow ui` on a free port; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            while not _answers(f"{url}/health"):
                if process.poll() is not None:
                    raise GenreflowError(f"mlflow ui ended with exit code {process.returncode}.")
                time.sleep(0.2)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # with its workers, which outlive it otherwise
            process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def open_page(browser: Browser, url: str, *, height: int = HEIGHT, width: int = WIDTH) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    return page


def save(page: Page, name: str) -> None:
    """Write what the window shows, with as many colours as `MAX_BYTES` permit."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in COLOURS:
        written = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(written, "png", optimize=True)
        if written.tell() <= MAX_BYTES:
            break
    (IMAGES / f"{name}.png").write_bytes(written.getvalue())
    print(f"{IMAGES / name}.png: {written.tell() // 1000} kB")
    page.close()


def picture_of_service(browser: Browser, mix: Path) -> None:
    with served(environment={"GENREFLOW_BUNDLE": str(CHAMPION.resolve())}, watch=False) as service:
        page = open_page(browser, f"{service.url}/ui", height=900)
        page.set_input_files("#files", str(mix))
        page.locator("#regions tr").first.wait_for()
        page.locator("#waveform [part~='region']").first.wait_for()
        page.locator("#track-view").scroll_into_view_if_needed()
        page.wait_for_timeout(1500)  # of the spectrogram
        page.evaluate("document.querySelector('#track-view').scrollIntoView()")
        page.evaluate("document.activeElement.blur()")
        save(page, "service")


def picture_of_mlflow(browser: Browser) -> None:
    with mlflow_ui() as url:
        page = open_page(browser, url, width=1250)
        page.context.route(lambda other: not other.startswith(url), lambda route: route.abort())
        # The assistant opens by itself in a new browser.
        page.evaluate("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        page.evaluate("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")
        page.goto(f"{url}/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=accuracy")
        page.reload()
        page.wait_for_function("/[1-9][0-9]* matching run/.test(document.body.innerText)")
        page.wait_for_timeout(2000)  # of the names of the runs
        page.locator(".ag-row button").first.click()  # the trials of the study
        page.get_by_role("link", name=re.compile("^trial")).first.wait_for()
        page.wait_for_timeout(500)
        save(page, "mlflow")


def main() -> None:
    check_project()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        write_mix(folder / "demo mix.wav")
        write_faulty_folder(folder / "music")
        audit_directory(folder / "music", AuditParams(), use_features=partial(write_page, folder / "audit.html"))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, path in {**PAGES, "audit": folder / "audit.html"}.items():
            page = open_page(browser, path.resolve().as_uri())
            page.wait_for_timeout(500)
            save(page, name)
        picture_of_service(browser, folder / "demo mix.wav")
        picture_of_mlflow(browser)
        browser.close()


if __name__ == "__main__":
    try:
        main()
    except GenreflowError as error:
        sys.exit(f"make_pictures.py: {error}")
