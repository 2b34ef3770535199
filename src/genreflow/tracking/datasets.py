"""The dataset of a run, in MLflow's terms."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow.entities import Dataset, DatasetInput, InputTag

from genreflow.tracking.lineage import restore_command

CONTEXT = "mlflow.data.context"
MAX_DIGEST_LENGTH = 36  # MLflow's


@dataclass(frozen=True, kw_only=True)
class TrainingDataset:
    """The data that a run was trained on.

    Parameters
    ----------
    name : str
        Of the data source.
    digest : str
        Identifies the data and `profile`, such as "<hash of the manifest>-<hash of the split>"; MLflow keeps the first
        profile of a name and digest. Cut at 36 characters.
    source : str
        Path or URL that the data come from.
    profile : mapping of str to JSON-ready
        What the UI shows, such as the number of tracks of each part.
    """

    name: str
    digest: str
    source: str
    profile: Mapping[str, object] = field(default_factory=dict)

    def to_input(self, tags: Mapping[str, object]) -> DatasetInput:
        """Return the argument of `MlflowClient.log_inputs`.

        Parameters
        ----------
        tags : mapping of str to any
            From `genreflow.tracking.lineage.lineage_tags`.
        """
        command = restore_command(tags)
        restore = {"restore": command} if command else {}
        profile = {
            name: ", ".join(value) if isinstance(value, list | tuple) else value for name, value in self.profile.items()
        }
        dataset = Dataset(
            name=self.name,
            digest=self.digest[:MAX_DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": self.source, **restore}),
            profile=json.dumps(profile | restore),  # of a source the UI shows only the address
        )
        return DatasetInput(dataset=dataset, tags=[InputTag(CONTEXT, "training")])
