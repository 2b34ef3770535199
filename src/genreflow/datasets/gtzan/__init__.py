"""GTZAN: 1,000 excerpts of 30 s in ten genres, with what has been published about them since.

Citation
    G. Tzanetakis and P. Cook, "Musical genre classification of audio signals", IEEE Transactions on Speech and Audio
    Processing 10(5), 2002.
Licence
    None was published.
Checksums and URLs
    From mirdata's loader ``gtzan_genre``, see `genreflow.datasets.gtzan.archive`.
Known faults
    `genreflow.datasets.gtzan.facts.published_faults`; jazz.00054 is corrupt in the copy on Kaggle.
"""
