"""What a reproduction works on: data as the stages left them, and the options of params.yaml. No stage itself."""

from genreflow.audit.faults import Audit
from genreflow.errors import ParameterError
from genreflow.params import load_params
from genreflow.reproduction import Material
from genreflow.stages import AUDIT, FEATURES, MANIFEST, SPLIT
from genreflow.stages.inputs import Data


def load_material() -> Material:
    """Read manifest, audit, split and features of the project in this folder.

    Raises
    ------
    ParameterError
        There is no project here, its data are not there yet, or its split leaks.
    """
    params = load_params()
    missing = [str(path) for path in (MANIFEST, FEATURES, AUDIT, SPLIT) if not path.exists()]
    if missing:
        raise ParameterError(f"There is no {missing[0]}; run `dvc repro split` first.")
    data = Data.load()
    return Material(
        manifest=data.manifest,
        audit=Audit.load(AUDIT),
        split=data.split,
        store=FEATURES,
        feature_key=data.store.spec.key,
        options=params.train,
        seed=params.split.seed,
    )
