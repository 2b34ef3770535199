"""The data and options of `genreflow reproduce`, read from the outs of the stages; not a stage itself."""

from genreflow.audit.faults import Audit
from genreflow.errors import ParameterError
from genreflow.params import load_params
from genreflow.reproduction import ProjectData
from genreflow.stages import AUDIT, FEATURES, MANIFEST, SPLIT
from genreflow.stages.inputs import Data


def load_project_data() -> ProjectData:
    """Read manifest, audit, split and features of the project in the current folder.

    Raises
    ------
    ParameterError
        One of them is missing.
    """
    params = load_params()
    missing = [str(path) for path in (MANIFEST, FEATURES, AUDIT, SPLIT) if not path.exists()]
    if missing:
        raise ParameterError(f"{missing[0]}: must exist; run `dvc repro split` first.")
    data = Data.load(verify_features=True)
    return ProjectData(
        manifest=data.manifest,
        audit=Audit.load(AUDIT, data.manifest),
        split=data.split,
        store=FEATURES,
        feature_key=data.store.spec.key,
        options=params.train,
        seed=params.split.seed,
    )
