"""What a trial does: a configuration to a model, its costs, its fit and its accuracy."""

from collections.abc import Callable
from functools import lru_cache

import keras

from genreflow.errors import ParameterError
from genreflow.features.spec import FilterBank
from genreflow.training.configuration import build_configuration
from genreflow.training.data import TrainingData
from genreflow.training.fit import fit
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams
from genreflow.tuning.model_costs import measure
from genreflow.tuning.objectives import VALID_TRACKS, Goals
from genreflow.tuning.search_space import Configuration
from genreflow.tuning.study import InfeasibleError, Outcome, Watch


class Trial:
    """The objective of a study (`genreflow.tuning.study.run_study`) on given data.

    Parameters
    ----------
    load : callable
        From `SegmentParams` to the `TrainingData` cut so.
    segmentation : SegmentParams
        Where the study does not choose it.
    options : FitOptions
        Where the study does not choose them; of a trial's length.
    goals : Goals
        Say which costs have to be measured.
    bank : FilterBank
        Of the features; a bundle holds it.
    """

    def __init__(
        self,
        load: Callable[[SegmentParams], TrainingData],
        segmentation: SegmentParams,
        options: FitOptions,
        goals: Goals,
        *,
        spec,
        bank: FilterBank,
    ) -> None:
        self._load = lru_cache(maxsize=4)(load)
        self._segmentation, self._options, self._goals = segmentation, options, goals
        self._spec, self._bank = spec, bank
        self._measured: dict[str, dict[str, float]] = {}

    def __call__(self, configuration: Configuration, watch: Watch) -> Outcome:
        data = self._load(self._segmentation.override(configuration.segments))
        chosen = {**configuration.train, "learning_rate": configuration.learning_rate}
        options = FitOptions.model_validate({**self._options.model_dump(), **chosen})
        try:
            model = build_configuration(
                data, configuration.architecture, configuration.hyperparameters, seed=options.seed
            )
        except ParameterError as error:
            raise InfeasibleError(f"no model can be built: {str(error).removesuffix('.')}") from None
        watch.built(self._costs(configuration, model, data))
        result = fit(model, data.train, data.valid, options, on_epoch=watch.epoch)
        return Outcome(
            track_accuracy=result.best["val_track_accuracy"],
            epochs=result.best_epoch + 1,
            facts={"val_loss": result.best["val_loss"], VALID_TRACKS: data.valid.n_tracks},
        )

    def _costs(self, configuration: Configuration, model: keras.Model, data: TrainingData) -> dict[str, float]:
        """Parameters, and what else the goals need: before the fit, so that what is too large costs no fit."""
        structure = repr((configuration.architecture, sorted(configuration.hyperparameters.items()), data.input_shape))
        structure += repr(data.front_end)
        if structure not in self._measured:
            found = measure(
                model,
                data,
                spec=self._spec,
                bank=self._bank,
                latency=self._goals.needs("latency_ms"),
                memory=self._goals.needs("memory_mb"),
            )
            costs = {"parameters": found.parameters, "latency_ms": found.latency_ms, "memory_mb": found.memory_mib}
            self._measured[structure] = {name: cost for name, cost in costs.items() if cost is not None}
        return self._measured[structure]
