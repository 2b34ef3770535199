"""Load a bundle and open its model in ONNX Runtime."""

from functools import cache
from pathlib import Path

import onnxruntime

from genreflow.bundle import Bundle
from genreflow.errors import GenreflowError

# How often a bundle is read that is replaced again and again.
LOAD_ATTEMPTS = 5


@cache
def _register_arena() -> None:
    """Register one memory arena for all sessions of the process, which grows by the sizes that are requested."""
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    as_requested = onnxruntime.OrtArenaCfg(0, 1, -1, -1)  # no limit, growth as requested, default chunk sizes
    onnxruntime.create_and_register_allocator(info, as_requested)


def load_with_session(directory: Path, threads: int) -> tuple[Bundle, onnxruntime.InferenceSession]:
    """Load bundle and model; both again if the directory was replaced meanwhile, as the stage `package` does."""
    for _ in range(LOAD_ATTEMPTS):
        before = _identity(directory)
        try:
            bundle = Bundle.load(directory)
            session = _open_session(bundle.onnx_path, threads)
        except GenreflowError:
            if _identity(directory) == before:
                raise
        else:
            if _identity(directory) == before:
                return bundle, session
    raise GenreflowError(f"{directory}: must not change while it is loaded; got another bundle {LOAD_ATTEMPTS} times.")


def _identity(directory: Path) -> tuple[int, ...] | None:
    """Return what is another one when the directory is replaced, or a file in it."""
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A shared arena makes a large model a seventh faster than the system's allocator. The arena of a session would
    # double its size each time it grows, and memory patterns would keep more beside it.
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        message = " ".join(str(error).split()).rstrip(".")
        raise GenreflowError(f"{path}: must be a model that ONNX Runtime can run; got {message}.") from error
