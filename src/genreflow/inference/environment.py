"""Environment variables for processes that only run inference, to set before they start."""

# Used for the processes of the service and in the image of its bento. glibc and OpenBLAS read theirs when they are
# loaded, so that a running process cannot set them.
ENVIRONMENT = {
    # Concurrent requests use one core each; the libraries' own thread pools would compete for the same cores.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # Keep the 8 MB that a request allocates for the next one: returning them to the system and allocating them again
    # took 3 of 20 ms. Larger allocations, as of large models, are still returned at once.
    "MALLOC_TRIM_THRESHOLD_": "32000000",
    "MALLOC_MMAP_THRESHOLD_": "8000000",
    # One heap for the thread that receives uploads and the one that classifies: what one frees, the other uses again.
    # It saves 2 to 7 MiB of a service with two processes, at the same processor time.
    "MALLOC_ARENA_MAX": "1",
    "BENTOML_DO_NOT_TRACK": "True",
}
