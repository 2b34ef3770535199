"""The data that a run was made with, as MLflow's own data set, and how to bring that very data back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow.entities import Dataset, DatasetInput, InputTag

CONTEXT = "mlflow.data.context"


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """What a run was trained on.

    Parameters
    ----------
    name : str
        Of the data source.
    digest : str
        Names all that `facts` tell, such as "<hash of the manifest>-<hash of the split>": MLflow keeps what was first
        said about a name and digest. At most 36 characters.
    source : str
        Where the data was taken from: a path or an address.
    facts : mapping of str to JSON-ready
        Such as the tracks of each part and the genres.
    """

    name: str
    digest: str
    source: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def as_input(self, tags: Mapping[str, object]) -> DatasetInput:
        """For `MlflowClient.log_inputs`; `tags` are those of `lineage_tags`."""
        way = {"again": how_to_restore(tags)} if how_to_restore(tags) else {}
        profile = {
            name: ", ".join(value) if isinstance(value, list | tuple) else value for name, value in self.facts.items()
        }
        dataset = Dataset(
            name=self.name,
            digest=self.digest[:36],
            source_type="local",
            source=json.dumps({"uri": self.source, **way}),
            profile=json.dumps(profile | way),  # the UI shows it all, and of a source no more than its address
        )
        return DatasetInput(dataset=dataset, tags=[InputTag(CONTEXT, "training")])


def how_to_restore(tags: Mapping[str, object]) -> str:
    """The command that brings the data of a run back.

    Parameters
    ----------
    tags : mapping of str to any
        From `lineage_tags`.

    Returns
    -------
    str
        Empty where the project was in no git repository.
    """
    if experiment := tags.get("dvc_experiment"):
        return f"dvc exp apply {experiment}"
    if revision := tags.get("git_revision"):
        return f"git checkout {str(revision)[:12]} && dvc checkout"
    return ""
