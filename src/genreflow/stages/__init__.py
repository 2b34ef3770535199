"""The stages of dvc.yaml, one thin file each: read the parameters, call one function, write the outs.

The paths below are those of dvc.yaml; no other package uses them.
"""

from pathlib import Path

PROJECT = Path()  # a stage runs in the project's folder
CHECKED = Path("data/checked")
CORRECTIONS = Path("data/corrections")
RAW = Path("data/raw")
MANIFEST = Path("data/manifest.json")
AUDIT = Path("data/audit.json")
FINGERPRINTS = Path("data/.fingerprints")  # a cache, not an out
AUDIT_PAGE = Path("reports/audit.html")
LABEL_ERRORS = Path("reports/label_errors.json")
LABEL_ERRORS_CSV = Path("reports/label_errors.csv")
SPLIT = Path("data/split.json")
SPLIT_RECORD = Path("data/split_record.json")
SPLIT_REPORT = Path("reports/split.json")
FEATURES = Path("data/features")
KEPT_FEATURES = Path("data/.features")  # a cache, not an out
EMBEDDINGS = Path("data/embeddings")
EMBEDDER = "embedder.onnx"  # in EMBEDDINGS
UNAVAILABLE = "unavailable.json"  # in EMBEDDINGS, if there are none
FILTERS = "filters.npz"  # in FEATURES
BEST = Path("reports/best_trial.json")
TRIALS = Path("reports/trials.json")
TRIALS_CSV = Path("reports/trials.csv")
STUDY = Path("reports/study")
BASELINES = Path("reports/baselines.json")
CANDIDATE = Path("models/candidate")
DRIFT_REFERENCE = Path("models/drift_reference")
CURVES = Path("reports/learning_curves.csv")
EVALUATION = Path("reports/evaluation.json")
EVALUATION_PAGE = Path("reports/evaluation.html")
MODEL_CARD = Path("reports/model_card.md")
CONFUSION_MATRIX = Path("reports/confusion_matrix.csv")
PREDICTIONS = Path("reports/predictions.json")
CONFUSION = Path("reports/confusion.csv")
METRICS = Path("metrics.json")
GATE = Path("reports/gate.json")
POINTER = Path("models/champion.json")
CHAMPION = Path("models/champion")
PACKAGE = Path("reports/package.json")
