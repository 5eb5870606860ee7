"""What the service says of itself on the wire: models, collections and figures."""

from __future__ import annotations

import json

from embeddb.query import (
    Backfill,
    BackfillState,
    CollectionInfo,
    CollectionSettings,
    Encoding,
    Metric,
    ModelInfo,
    Precision,
    PutResult,
    PutStatus,
    Running,
    RunOptions,
    SpaceStats,
    Stats,
)
from embeddb_protos.v1 import admin_pb2, collections_pb2, models_pb2
from embeddb_protos.wire.errors import error_from, error_message
from embeddb_protos.wire.items import MODALITIES, json_object, modality_from
from embeddb_protos.wire.versions import meaning

__all__ = [
    "backfill_from",
    "backfill_message",
    "collection_from",
    "collection_message",
    "model_from",
    "model_message",
    "options_from",
    "options_message",
    "settings_from",
    "settings_message",
    "stats_from",
    "stats_message",
]

_ENCODINGS = {
    Encoding.FLOAT32: collections_pb2.ENCODING_FLOAT32,
    Encoding.FLOAT16: collections_pb2.ENCODING_FLOAT16,
}
_ENCODINGS_BACK: dict[int, Encoding] = {
    collections_pb2.ENCODING_UNSPECIFIED: Encoding.FLOAT32,
    **{number: encoding for encoding, number in _ENCODINGS.items()},
}
_METRICS = {
    Metric.COSINE: collections_pb2.METRIC_COSINE,
    Metric.INNER_PRODUCT: collections_pb2.METRIC_INNER_PRODUCT,
    Metric.L2: collections_pb2.METRIC_L2,
}
_METRICS_BACK: dict[int, Metric] = {
    collections_pb2.METRIC_UNSPECIFIED: Metric.COSINE,
    **{number: metric for metric, number in _METRICS.items()},
}
_STATES = {
    BackfillState.RUNNING: collections_pb2.BACKFILL_STATE_RUNNING,
    BackfillState.COMPLETE: collections_pb2.BACKFILL_STATE_COMPLETE,
    BackfillState.FAILED: collections_pb2.BACKFILL_STATE_FAILED,
}
_STATES_BACK: dict[int, BackfillState] = {number: state for state, number in _STATES.items()}
_PRECISIONS = {
    Precision.AUTO: models_pb2.PRECISION_AUTO,
    Precision.FLOAT32: models_pb2.PRECISION_FLOAT32,
    Precision.BFLOAT16: models_pb2.PRECISION_BFLOAT16,
    Precision.FLOAT16: models_pb2.PRECISION_FLOAT16,
}
_PRECISIONS_BACK: dict[int, Precision] = {
    models_pb2.PRECISION_UNSPECIFIED: Precision.AUTO,
    **{number: precision for precision, number in _PRECISIONS.items()},
}


def model_message(model: ModelInfo) -> models_pb2.Model:
    """A model as a message."""
    running = model.running
    return models_pb2.Model(
        name=model.name,
        spec_json=json.dumps(dict(model.spec)),
        modalities=[MODALITIES[modality] for modality in model.modalities],
        dimension=model.dimension,
        labels=model.labels,
        fingerprint=model.fingerprint,
        options=options_message(model.options),
        running=None if running is None else _running_message(running),
        refusal=model.refusal or "",
    )


def model_from(message: models_pb2.Model) -> ModelInfo:
    """The model that a message describes; modalities that this version does not know are left out."""
    modalities = [modality_from(number) for number in message.modalities]
    return ModelInfo(
        name=message.name,
        spec=json_object("spec_json", message.spec_json),
        modalities=tuple(modality for modality in modalities if modality is not None),
        dimension=message.dimension,
        labels=message.labels,
        fingerprint=message.fingerprint,
        options=options_from(message.options),
        running=_running_from(message.running) if message.HasField("running") else None,
        refusal=message.refusal or None,
    )


def options_message(options: RunOptions) -> models_pb2.RunOptions:
    """How a model is to be run, as a message."""
    return models_pb2.RunOptions(
        device=options.device,
        precision=_PRECISIONS[options.precision],
        lazy=options.lazy,
        compile=options.compile,
        unload_after_seconds=options.unload_after,
    )


def options_from(message: models_pb2.RunOptions) -> RunOptions:
    """How a model is to be run.

    Raises:
        InvalidArgumentError: the device or the precision is none, or the seconds are not positive.
    """
    return RunOptions(
        device=message.device or "auto",
        precision=meaning("options.precision", _PRECISIONS_BACK, message.precision),
        lazy=message.lazy,
        compile=message.compile,
        unload_after=message.unload_after_seconds if message.HasField("unload_after_seconds") else None,
    )


def _running_message(running: Running) -> models_pb2.Running:
    return models_pb2.Running(
        device=running.device,
        precision=_PRECISIONS[running.precision],
        bytes=running.bytes,
        compiled=running.compiled,
    )


def _running_from(message: models_pb2.Running) -> Running:
    precision = meaning("running.precision", _PRECISIONS_BACK, message.precision)
    return Running(message.device, precision, message.bytes, message.compiled)


def collection_message(collection: CollectionInfo) -> collections_pb2.Collection:
    """A collection as a message."""
    return collections_pb2.Collection(
        name=collection.name,
        models=collection.models,
        items=collection.items,
        settings=settings_message(collection.settings),
    )


def collection_from(message: collections_pb2.Collection) -> CollectionInfo:
    """The collection that a message describes."""
    return CollectionInfo(message.name, tuple(message.models), message.items, settings_from(message.settings))


def settings_message(settings: CollectionSettings) -> collections_pb2.CollectionSettings:
    """A collection's settings as a message."""
    return collections_pb2.CollectionSettings(
        encoding=_ENCODINGS[settings.encoding],
        keep_payloads=settings.keep_payloads,
        metric=_METRICS[settings.metric],
        index=settings.index,
        recall=settings.recall,
    )


def settings_from(message: collections_pb2.CollectionSettings) -> CollectionSettings:
    """The settings that a message describes; what it does not say is the default.

    Raises:
        InvalidArgumentError: the encoding or metric is one that this version does not know, or the recall is
            out of range.
    """
    encoding = meaning("settings.encoding", _ENCODINGS_BACK, message.encoding)
    metric = meaning("settings.metric", _METRICS_BACK, message.metric)
    keep_payloads = message.keep_payloads if message.HasField("keep_payloads") else True
    recall = message.recall if message.HasField("recall") else CollectionSettings.recall
    index = message.index or CollectionSettings.index
    return CollectionSettings(encoding, keep_payloads, metric, index, recall)


def backfill_message(backfill: Backfill) -> collections_pb2.Backfill:
    """How far a backfill is, as a message."""
    return collections_pb2.Backfill(
        model=backfill.model,
        state=_STATES[backfill.state],
        items=backfill.items,
        done=backfill.done,
        embedded=backfill.embedded,
        missing=backfill.missing,
        listed=[
            collections_pb2.MissingItem(id=each.id, error=error_message(each.error))
            for each in backfill.listed
            if each.error is not None
        ],
        seconds=backfill.seconds,
        error=None if backfill.error is None else error_message(backfill.error),
    )


def backfill_from(message: collections_pb2.Backfill) -> Backfill:
    """How far a backfill is."""
    return Backfill(
        model=message.model,
        state=meaning("backfill.state", _STATES_BACK, message.state),
        items=message.items,
        done=message.done,
        embedded=message.embedded,
        missing=message.missing,
        listed=tuple(PutResult(each.id, PutStatus.FAILED, error_from(each.error)) for each in message.listed),
        seconds=message.seconds,
        error=error_from(message.error) if message.HasField("error") else None,
    )


def stats_message(stats: Stats) -> admin_pb2.GetStatsResponse:
    """The server's figures as a message."""
    return admin_pb2.GetStatsResponse(
        version=stats.version,
        uptime_seconds=stats.uptime_seconds,
        bytes_on_disk=stats.bytes_on_disk,
        models=[model_message(model) for model in stats.models],
        collections=[
            admin_pb2.CollectionStats(
                collection=collection_message(collection),
                spaces=[
                    admin_pb2.SpaceStats(
                        model=space.model,
                        vectors=space.vectors,
                        dimension=space.dimension,
                        index=space.index,
                        recall=space.recall,
                    )
                    for space in stats.spaces[collection.name]
                ],
            )
            for collection in stats.collections
        ],
    )


def stats_from(message: admin_pb2.GetStatsResponse) -> Stats:
    """The server's figures."""
    return Stats(
        version=message.version,
        uptime_seconds=message.uptime_seconds,
        bytes_on_disk=message.bytes_on_disk,
        models=tuple(model_from(model) for model in message.models),
        collections=tuple(collection_from(each.collection) for each in message.collections),
        spaces={
            each.collection.name: tuple(
                SpaceStats(
                    space.model,
                    space.vectors,
                    space.dimension,
                    space.index,
                    space.recall if space.HasField("recall") else None,
                )
                for space in each.spaces
            )
            for each in message.collections
        },
    )
