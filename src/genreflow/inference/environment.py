"""Environment variables that a process which only answers is best started with."""

# Of the service's processes, and of an image of its bento; only here where it must be there before genreflow is.
ENVIRONMENT = {
    # Requests run side by side on a core each; pools of threads inside the libraries would fight each other.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # What glibc takes for a request (8 MB) it keeps for the next: giving it back and getting it again took 3 of 20 ms.
    # Large pieces, which large nets need, it still gives back at once.
    "MALLOC_TRIM_THRESHOLD_": "32000000",
    "MALLOC_MMAP_THRESHOLD_": "8000000",
    "BENTOML_DO_NOT_TRACK": "True",
}
