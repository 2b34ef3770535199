"""The objective of a study on real data: build a model, measure its costs, fit it."""

from collections.abc import Callable
from functools import lru_cache

import keras

from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.models import MODELS
from genreflow.training.configuration import build_configuration
from genreflow.training.data import TrainingData
from genreflow.training.fit import fit
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams
from genreflow.tuning.model_costs import measure_costs
from genreflow.tuning.objectives import VALID_TRACKS, is_needed
from genreflow.tuning.params import TuneParams
from genreflow.tuning.run_trial import InfeasibleError, TrialCallback, TrialResult
from genreflow.tuning.search_space import Configuration


class FitTrial:
    """The objective of `genreflow.tuning.study.run_study`.

    Parameters
    ----------
    load : callable
        ``load(segments, embeddings)``: the `TrainingData` in segments of such `SegmentParams`, or their embeddings.
    segments : SegmentParams
        Its values hold where the study does not search them.
    options : FitOptions
        Likewise; ``epochs`` are those of a trial.
    tune : TuneParams
        Says which costs are measured.
    spec : FeatureSpec
    bank : FilterBank
        Both are part of the bundle that is measured.
    """

    def __init__(
        self,
        load: Callable[[SegmentParams, bool], TrainingData],
        segments: SegmentParams,
        options: FitOptions,
        tune: TuneParams,
        *,
        spec: FeatureSpec,
        bank: FilterBank,
    ) -> None:
        self._load = lru_cache(maxsize=4)(load)
        self._segments, self._options, self._tune = segments, options, tune
        self._spec, self._bank = spec, bank
        self._known_costs: dict[str, dict[str, float]] = {}

    def __call__(self, configuration: Configuration, callback: TrialCallback) -> TrialResult:
        embeddings = MODELS[configuration.architecture].embedding
        data = self._load(self._segments.override(configuration.segments), embeddings)
        searched = {**configuration.train, "learning_rate": configuration.learning_rate}
        options = FitOptions.model_validate({**self._options.model_dump(), **searched})
        try:
            model = build_configuration(
                data, configuration.architecture, configuration.hyperparameters, seed=options.seed
            )
        except ParameterError as error:
            raise InfeasibleError(f"no model can be built: {str(error).removesuffix('.')}") from None
        callback.on_model_built(self._costs(configuration, model, data))
        result = fit(model, data.train, data.valid, options, on_epoch=callback.on_epoch_end)
        return TrialResult(
            track_accuracy=result.best["val_track_accuracy"],
            epochs=result.best_epoch + 1,
            metrics={"val_loss": result.best["val_loss"], VALID_TRACKS: data.valid.n_tracks},
        )

    def _costs(self, configuration: Configuration, model: keras.Model, data: TrainingData) -> dict[str, float]:
        """Measure what objectives and limits need, once per structure of a model."""
        hyperparameters = sorted(configuration.hyperparameters.items())
        structure = repr((configuration.architecture, hyperparameters, data.input_shape, data.front_end))
        if structure not in self._known_costs:
            self._known_costs[structure] = measure_costs(
                model,
                data,
                spec=self._spec,
                bank=self._bank,
                latency=is_needed("latency_ms", self._tune),
                memory=is_needed("memory_mb", self._tune),
            )
        return self._known_costs[structure]
