"""Indexes on a GPU: what is put there, and that the processor serves wherever it cannot be."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest
import torch

import embeddb
from embeddb.errors import InvalidArgumentError, ResourceExhaustedError
from embeddb.index import Gpu, IndexPolicy, SpaceIndex, find_gpu, placement, policy
from embeddb.index import gpu as gpu_module
from embeddb.options import Effort
from embeddb.query import Metric, PutItem
from tests.index.reference import assert_best, scores
from tests.index.test_approximate import DIMENSION, NONE, add, clustered

Make = Callable[..., SpaceIndex]
Rows = npt.NDArray[np.int64]

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
EVERY = slice(None)


class Simulated(Gpu):
    """A GPU whose memory is the processor's: real tensors, and real copies of FAISS's indexes.

    Attributes:
        left: what room it has, in bytes.
        copies: those that were made.
    """

    def __init__(self, room: int = 1 << 30) -> None:
        super().__init__(0)
        self.left = room
        self.copies: list[faiss.Index] = []

    def check_room(self, size: int) -> None:
        if size > self.left:
            raise ResourceExhaustedError(f"{size} bytes are wanted")

    def room(self, count: int, size: int) -> torch.Tensor:
        self.check_room(count * size)
        return torch.empty(count, size, dtype=torch.uint8)

    def tensor(self, array: npt.NDArray[np.uint8]) -> torch.Tensor:
        return torch.from_numpy(array)

    def copy(self, index: faiss.Index) -> faiss.Index:
        self.check_room(index.ntotal * DIMENSION)
        self.copies.append(faiss.clone_index(index))
        return self.copies[-1]


@pytest.fixture
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes indexes of 6,000 clustered vectors, which are enough to be put on a GPU."""
    monkeypatch.setattr(placement, "LEAST_PLACED", 2000)

    def made(gpu: Gpu, factory: str = "auto", metric: Metric = Metric.COSINE) -> SpaceIndex:
        index = SpaceIndex(DIMENSION, metric, IndexPolicy(factory), gpu=gpu)
        request.addfinalizer(index.close)
        add(index, 0, clustered(6000))
        index.settle()
        return index

    return made


def assert_exact(index: SpaceIndex, count: int, dead: Rows = NONE, allowed: Rows | None = None) -> None:
    """Check searches of one and of many against the definition, among the first rows."""
    barred = np.ones(count, np.bool_)
    barred[EVERY if allowed is None else allowed] = False
    barred[dead] = True
    queries = clustered(9, seed=3)
    expected = scores(index.metric, queries, clustered(6000, seed=0)[:count])
    expected[:, barred] = -np.inf
    for asked in (slice(1), EVERY):
        found, rows = index.search(queries[asked], 20, allowed)
        for each in zip(expected[asked], rows, found, strict=True):
            assert_best(*each, tolerance=1e-4)


@pytest.mark.parametrize("metric", list(Metric))
def test_the_codes_of_all_vectors_are_put_there_and_searches_stay_exact(metric: Metric, make: Make) -> None:
    index = make(Simulated(), metric=metric)
    assert repr(index) == "exact, on cuda:0"
    assert_exact(index, 6000)
    assert_exact(index, 6000, allowed=np.arange(0, 6000, 2))
    dead = np.arange(0, 600)
    index.update(NONE, np.empty((0, DIMENSION), np.float32), dead)
    assert_exact(index, 6000, dead)


def test_what_is_added_is_found_there_at_once(make: Make) -> None:
    index = make(Simulated())
    vectors = clustered(5000, seed=5)
    for start in range(0, 5000, 500):
        add(index, 6000 + start, vectors[start : start + 500])
        found, rows = index.search(vectors[start : start + 4], 1)
        assert rows[:, 0].tolist() == list(range(6000 + start, 6004 + start))
        np.testing.assert_allclose(found, 1, atol=1e-5)
    assert repr(index) == "exact, on cuda:0"


def test_few_vectors_stay_with_the_processor(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "LEAST_PLACED", 6001)
    assert repr(make(Simulated())) == "exact"


def test_an_exact_index_stays_exact_there_however_large_it_grows(
    make: Make, monkeypatch: pytest.MonkeyPatch, builds: list[str]
) -> None:
    monkeypatch.setattr(policy, "EXACT_LIMIT", 4000)
    index = make(Simulated())
    assert repr(index) == "exact, on cuda:0"
    # A quarter of it dies: what is written anew is put there again.
    index.update(NONE, np.empty((0, DIMENSION), np.float32), np.arange(2000))
    index.settle()
    assert repr(index) == "exact, on cuda:0"
    assert_exact(index, 6000, np.arange(2000))
    assert builds == []


def test_without_room_for_the_codes_a_copy_of_the_approximate_index_is_put_there(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(policy, "EXACT_LIMIT", 4000)
    # Without a GPU the codes would be others, that FAISS does not have there.
    monkeypatch.setattr(policy, "SHORT_CODES_DIMENSION", DIMENSION)
    gpu = Simulated(room=6000 * DIMENSION)
    index = make(gpu)
    assert repr(index).startswith("IVF153,SQ4, effort ")
    assert repr(index).endswith(", on cuda:0")
    assert len(gpu.copies) == 1
    assert "codes are not put on cuda:0: " in caplog.text


def test_without_any_room_the_processor_serves_and_the_log_says_why(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(policy, "EXACT_LIMIT", 4000)
    index = make(Simulated(room=0))
    assert repr(index).startswith("IVF153,SQ4, effort ")
    assert "cuda" not in repr(index)
    refused = [record.getMessage() for record in caplog.records if "not put on cuda:0" in record.getMessage()]
    assert [message.partition(" not put")[0] for message in refused] == [
        "index: 6000 codes are",
        "index: IVF153,SQ4 is",
    ]


def test_codes_that_outgrow_the_room_leave(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    gpu = Simulated()
    index = make(gpu)
    gpu.left = 0
    vectors = clustered(4000, seed=5)
    add(index, 6000, vectors)
    found, rows = index.search(vectors[:4], 1)
    assert rows[:, 0].tolist() == [6000, 6001, 6002, 6003]
    np.testing.assert_allclose(found, 1, atol=1e-5)
    index.settle()
    assert repr(index) == "exact"
    assert "codes leave cuda:0, and the processor serves" in caplog.text


@pytest.mark.parametrize("queries", [1, 9])
def test_a_search_that_the_gpu_fails_is_answered_by_the_processor(
    queries: int, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = Simulated()
    index = make(gpu)
    codes = index._contents.state.codes

    def fail(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(type(codes), "shortlist", fail)
    vectors = clustered(6000)
    found, rows = index.search(vectors[:queries], 1)
    assert rows[:, 0].tolist() == list(range(queries))
    np.testing.assert_allclose(found, 1, atol=1e-5)
    monkeypatch.undo()
    index.settle()
    assert repr(index) == "exact"
    assert_exact(index, 6000)
    # Nor is anything put there again soon, whatever comes.
    add(index, 6000, clustered(100, seed=5))
    index.settle()
    assert repr(index) == "exact"
    assert caplog.text.count("codes leave cuda:0") == 1


def until(holds: Callable[[], bool]) -> None:
    """Return when something holds that another thread is about to bring about."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def fail(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_once_the_gpu_has_rested_the_codes_are_put_there_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_module, "REST_SECONDS", 0.2)
    index = make(Simulated())
    codes = index._contents.state.codes
    with monkeypatch.context() as broken:
        broken.setattr(type(codes), "shortlist", fail)
        index.search(clustered(9), 1)
    # Nothing is written meanwhile, and nothing is asked.
    until(lambda: repr(index) == "exact, on cuda:0")
    assert index._contents.state.codes is not codes
    assert_exact(index, 6000)


def test_once_the_gpu_has_rested_a_copy_is_put_there_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_module, "REST_SECONDS", 0.2)
    gpu = Simulated()
    index = make(gpu, "IVF32,SQ8")
    monkeypatch.setattr(gpu.copies[0], "search_c", fail)
    assert found_by(index, 10)[0] > 0.93
    until(lambda: len(gpu.copies) == 2)
    index.settle()
    assert repr(index).endswith(", on cuda:0")


def test_what_is_closed_waits_for_no_gpu(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Simulated()
    index = make(gpu)
    monkeypatch.setattr(type(index._contents.state.codes), "shortlist", fail)
    index.search(clustered(9), 1)
    index.settle()
    timer = index._upkeep._timer
    assert timer is not None
    index.close()
    timer.join(20)
    assert not timer.is_alive()
    assert repr(index) == "exact"


def found_by(index: SpaceIndex, k: int, allowed: Rows | None = None) -> tuple[float, Rows]:
    """The recall of 200 searches, and their rows."""
    queries = clustered(200, seed=7)
    exact = index.search(queries, k, allowed, Effort.EXACT)[1]
    rows = index.search(queries, k, allowed)[1]
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(exact, rows, strict=True)])), rows


@pytest.mark.parametrize("factory", ["IVF32,SQ8", "PCAR16,IVF32,Flat"])
def test_a_copy_of_an_approximate_index_follows_it(factory: str, make: Make) -> None:
    gpu = Simulated()
    index = make(gpu, factory)
    assert repr(index).endswith(", on cuda:0")
    (copy,) = gpu.copies
    assert found_by(index, 10)[0] > 0.93
    vectors = clustered(2000, seed=5)
    add(index, 6000, vectors)
    assert index.search(vectors[:4], 1)[1][:, 0].tolist() == [6000, 6001, 6002, 6003]
    index.settle()
    assert copy.ntotal == 8000
    assert index.search(vectors[:4], 1)[1][:, 0].tolist() == [6000, 6001, 6002, 6003]
    # The dead are swept out, and a new copy has none of them.
    index.update(NONE, np.empty((0, DIMENSION), np.float32), np.arange(500))
    index.settle()
    assert [each.ntotal for each in gpu.copies] == [8000, 7500]
    assert repr(index).endswith(", on cuda:0")
    recall, rows = found_by(index, 10)
    assert recall > 0.93
    assert rows.min() >= 500


def test_what_faiss_has_no_kernels_for_is_searched_by_the_processor(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Simulated()
    index = make(gpu, "IVF32,SQ8")
    asked: list[tuple[int, object]] = []
    kind: Any = faiss.IndexIVFScalarQuantizer
    search = kind.search_c

    def noted(self: faiss.Index, n: int, queries: object, k: int, *rest: Any) -> None:
        if self is gpu.copies[0]:
            asked.append((k, rest[-1].sel))
        search(self, n, queries, k, *rest)

    monkeypatch.setattr(kind, "search_c", noted)
    assert found_by(index, 10)[0] > 0.93
    assert [sel for _, sel in asked] == [None]
    asked.clear()
    # A filter, and more candidates than a GPU selects.
    recall, rows = found_by(index, 10, np.arange(0, 6000, 2))
    assert recall > 0.93
    assert (rows % 2 == 0).all()
    assert found_by(index, 1500)[0] > 0.5
    assert asked == []


@pytest.mark.parametrize("broken", ["search_c", "add_with_ids"])
def test_a_copy_that_fails_is_given_up(
    broken: str, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = Simulated()
    index = make(gpu, "IVF32,SQ8")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("alloc fail")

    # faiss.contrib.torch_utils, where something imported it, keeps FAISS's own under another name.
    for name in (each for each in (broken, f"{broken}_numpy") if hasattr(gpu.copies[0], each)):
        monkeypatch.setattr(gpu.copies[0], name, fail)
    vectors = clustered(2000, seed=5)
    if broken == "search_c":
        assert found_by(index, 10)[0] > 0.93
    add(index, 6000, vectors)
    index.settle()
    assert "cuda" not in repr(index)
    assert "IVF32,SQ8: cuda:0 failed, and the processor serves: alloc fail" in caplog.text
    assert found_by(index, 10)[0] > 0.93
    assert index.search(vectors[:4], 1)[1][:, 0].tolist() == [6000, 6001, 6002, 6003]
    assert len(gpu.copies) == 1


@pytest.mark.parametrize("factory", ["HNSW16", "IVF32,FlatDedup"])
def test_what_faiss_does_not_copy_stays_with_the_processor(
    factory: str, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(policy, "HNSW_MINIMUM", 1000)
    index = make(Gpu(0), factory)
    assert "cuda" not in repr(index)
    assert f"{factory} is not put on cuda:0: FAISS has no such index for GPUs" in caplog.text


def test_a_device_that_is_not_there_is_said_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    caplog.set_level(logging.INFO)
    assert find_gpu("cpu") is None
    assert caplog.records == []
    assert find_gpu("auto") is None
    assert find_gpu("cuda:3") is None
    auto, asked = caplog.records
    assert (auto.levelno, asked.levelno) == (logging.INFO, logging.WARNING)
    assert asked.getMessage().endswith("cuda:3 asked for, and FAISS sees 0 GPUs")


class Driver:
    """A driver of NVIDIA's that has just so much to say."""

    def __init__(self, code: int) -> None:
        self._code = code

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's own name
        return self._code


@pytest.mark.parametrize(("code", "gpus"), [(803, None), (999, None), (100, "cuda:0"), (0, "cuda:0")])
def test_faiss_is_not_asked_where_it_would_end_the_process(
    code: int, gpus: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of an error other than that there is no GPU, such as 803: half of the driver was updated."""
    monkeypatch.setattr(ctypes, "CDLL", {"libcuda.so.1": Driver(code)}.__getitem__)
    asked: list[int] = []
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: asked.append(1) or 1)
    found = find_gpu("auto")
    assert (None if found is None else str(found)) == gpus
    assert len(asked) == (gpus is not None)
    assert (f"auto asked for, and NVIDIA's driver does not start (CUDA error {code})" in caplog.text) == (
        gpus is None
    )


@pytest.mark.skipif(faiss.get_num_gpus() > 0, reason="FAISS sees a GPU")
@pytest.mark.skipif("GPU" not in faiss.get_compile_options(), reason="FAISS is built without GPUs")
@pytest.mark.parametrize("factory", ["IVF32,SQ4", "IVF32,PQ8", "PCAR16,IVF32,Flat"])
def test_a_copy_gets_as_far_as_faiss_own_check_of_the_device(
    factory: str, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a GPU, that FAISS has all that making a copy calls, and that the processor serves then."""
    monkeypatch.setattr(Gpu, "check_room", lambda *_: None)
    index = make(Gpu(0), factory)
    assert "cuda" not in repr(index)
    assert f"{factory} is not put on cuda:0: Error in faiss::gpu::GpuIndex::GpuIndex" in caplog.text
    assert "Invalid GPU device 0" in caplog.text
    assert found_by(index, 10)[0] > 0.9


def test_torch_has_products_that_are_summed_in_float32() -> None:
    """The one operation of torch in the scan on a GPU that the processor does not run."""
    schema = str(torch.ops.aten.mm.dtype._schema)
    assert schema == "aten::mm.dtype(Tensor self, Tensor mat2, ScalarType out_dtype) -> Tensor"


def test_the_device_that_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    taken = [find_gpu(asked) for asked in ("auto", "cpu", "cuda", "cuda:1", "cuda:2")]
    assert [None if gpu is None else str(gpu) for gpu in taken] == ["cuda:0", None, "cuda:0", "cuda:1", None]


def test_a_database_puts_its_indexes_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"index_device: 'gpu' given, must be auto, cpu, cuda"):
        embeddb.open(tmp_path, index_device="gpu")
    with embeddb.open(tmp_path, index_device="cuda:99") as database:
        assert "cuda:99 asked for" in caplog.text
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        items = [PutItem(f"{n}", features={"given": each}) for n, each in enumerate(clustered(300))]
        database.create_collection("many", ["given"]).put_many(items)
    monkeypatch.setattr(placement, "LEAST_PLACED", 200)
    monkeypatch.setattr("embeddb.database.find_gpu", {"cuda": Simulated()}.__getitem__)
    with embeddb.open(tmp_path, index_device="cuda") as database:
        collection = database.collection("many")
        collection.settle()
        assert collection.search(clustered(300)[7], k=1)[0].id == "7"
        assert [space.index for space in database.stats().spaces["many"]] == ["exact, on cuda:0"]


def test_what_is_closed_gives_the_memory_back(make: Make) -> None:
    exact, approximate = make(Simulated()), make(Simulated(), "IVF32,SQ8")
    for index in (exact, approximate):
        assert repr(index).endswith("on cuda:0")
        index.close()
        assert "cuda" not in repr(index)


def test_a_gpu_that_torch_does_not_see_takes_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "cuda" not in repr(make(Gpu(0), "IVF32,SQ8"))
    assert repr(make(Gpu(0))) == "exact"
    assert caplog.text.count("on cuda:0: torch does not see cuda:0") == 2


def test_room_is_what_the_models_are_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (50 << 20, 100 << 20))
    Gpu(0).check_room(30 << 20)
    with pytest.raises(ResourceExhaustedError, match="has 30 MiB for indexes, and 31 are wanted"):
        Gpu(0).check_room(31 << 20)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("metric", list(Metric))
def test_a_real_gpu_finds_exactly_the_best(metric: Metric, make: Make) -> None:
    index = make(Gpu(0), metric=metric)
    assert repr(index) == "exact, on cuda:0"
    assert_exact(index, 6000)
    assert_exact(index, 6000, allowed=np.arange(0, 6000, 2))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("factory", ["IVF32,SQ4", "IVF32,PQ8", "PCAR16,IVF32,Flat"])
def test_a_real_gpu_searches_an_approximate_index(factory: str, make: Make) -> None:
    index = make(Gpu(0), factory)
    assert repr(index).endswith(", on cuda:0")
    assert found_by(index, 10)[0] > 0.9
    vectors = clustered(2000, seed=5)
    add(index, 6000, vectors)
    index.settle()
    assert repr(index).endswith(", on cuda:0")
    assert index.search(vectors[:4], 1)[1][:, 0].tolist() == [6000, 6001, 6002, 6003]
