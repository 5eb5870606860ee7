"""The figures of benchmarks: what counts as worse, recall, and documents that are made of results."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_the_documented_tables_are_those_of_the_results() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "tables.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_table_is_written_anew_and_the_text_around_it_stays(tmp_path: Path) -> None:
    import tables

    where = {"processor": "P", "extensions": "", "cores": 2, "memory_gb": 4, "load": 0.0}
    found = {"machine": where, "about": {"vectors": 1000}, "results": {"a": {"p50, ms": 1.5}}}
    (tmp_path / "known.json").write_text(json.dumps(found))
    document = "before\n<!-- table known -->\nold\n<!-- end -->\nbetween\n<!-- table none -->\n<!-- end -->\n"
    written = tables.written(document, tmp_path)
    assert "| p50, ms | 1.50 |" in written
    assert "vectors 1,000" in written
    assert "old" not in written
    assert "between\n<!-- table none -->\nNot measured yet.\n<!-- end -->" in written
    assert tables.written(written, tmp_path) == written


@pytest.mark.parametrize(
    ("name", "old", "new", "times"),
    [
        ("queries/s, 8 clients", 1000.0, 500.0, 2.0),
        ("p50, ms", 1.0, 2.0, 2.0),
        ("disk, MB", 10.0, 15.0, 1.5),
        ("recall@10", 0.9, 0.45, 2.0),
    ],
)
def test_what_is_worse_is_named(name: str, old: float, new: float, times: float) -> None:
    import report

    assert list(report.worse({"a": {name: new}}, {"a": {name: old}})) == [("a", name, times)]
    assert list(report.worse({"a": {name: old}}, {"a": {name: new}})) == []


def test_noise_tails_and_what_takes_no_time_are_not_worse() -> None:
    import report

    before = {"a": {"queries/s": 100.0, "p99, ms": 1.0, "reopen, s": 0.001}}
    now = {"a": {"queries/s": 90.0, "p99, ms": 9.0, "reopen, s": 0.05, "new, ms": 5.0}}
    assert list(report.worse(now, before)) == []


def test_what_the_machine_is_slower_by_is_left_out() -> None:
    import report

    before = {
        "FAISS": {"queries/s": 100.0},
        "embeddb": {"queries/s": 100.0, "p50, ms": 1.0, "disk, MB": 1.0},
    }
    now = {"FAISS": {"queries/s": 50.0}, "embeddb": {"queries/s": 50.0, "p50, ms": 4.0, "disk, MB": 2.0}}
    assert report.machine_slowdown(now, before) == 2.0
    found = {name: times for _, name, times in report.worse(now, before)}
    assert found == {"p50, ms": 2.0, "disk, MB": 2.0}


def test_the_nearest_are_those_of_the_whole_product(monkeypatch: pytest.MonkeyPatch) -> None:
    import clusters

    monkeypatch.setattr(clusters, "PIECE", 300)
    draw = clusters.make_data(16, np.random.default_rng(0))
    vectors, queries = draw(1000), draw(7)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    found = clusters.nearest(vectors, queries, 10)
    assert found.tolist() == truth.tolist()
    assert clusters.recall(found.tolist(), truth) == 1.0
    assert clusters.recall(found[:, :5].tolist(), truth) == 0.5


def test_vectors_are_drawn_into_a_file_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import clusters

    monkeypatch.setattr(clusters, "PIECE", 30)
    draw = clusters.make_data(8, np.random.default_rng(0))
    written = clusters.write_vectors(tmp_path / "vectors.npy", draw, 100)
    read = np.load(tmp_path / "vectors.npy")
    assert read.shape == written.shape == (100, 8)
    assert np.linalg.norm(read, axis=1) == pytest.approx(np.ones(100), rel=1e-5)
    assert len(np.unique(read[:, 0])) == 100


def test_turns_are_taken_round_by_round_and_compared_within_each() -> None:
    import turns

    taken: list[str] = []
    speeds = itertools.chain.from_iterable((speed, speed) for speed in (10.0, 1.0, 4.0))

    def turn(who: str, times: float) -> turns.Turn:
        def measure(seconds: float) -> dict[str, float]:
            assert seconds == 0.5
            taken.append(who)
            return {"images/s": times * next(speeds)}

        return turns.Turn(who, measure)

    measured = turns.in_turns([turn("loop", 2.0), turn("server", 3.0)], 3, 0.5)
    assert taken == ["loop", "server"] * 3
    # The machine was slow in the second round: the medians tell of it, what is compared does not.
    assert turns.medians(measured) == {"loop": {"images/s": 8.0}, "server": {"images/s": 12.0}}
    assert turns.times(measured["server"]["images/s"], measured["loop"]["images/s"]) == 1.5


def test_a_process_does_as_it_is_ordered_and_ends_with_its_block(tmp_path: Path) -> None:
    import orders

    program = tmp_path / "counts.py"
    program.write_text(
        "import os, sys, orders\n"
        "class Counts:\n"
        "    def add(self, *numbers): return sum(numbers)\n"
        "    def pid(self): return os.getpid()\n"
        "orders.obey(int(sys.argv[-1]), Counts())\n"
    )
    command = [sys.executable, "-c", f"exec(open({str(program)!r}).read())"]
    with orders.process("counts", command) as order:
        assert order("add", 1, 2, 4) == 7
        pid = order("pid")
        assert order("add") == 0
        with pytest.raises(SystemExit, match="counts failed"):
            order("subtract")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_growth_is_drawn_with_a_panel_for_each_figure(tmp_path: Path) -> None:
    import growth_plot

    figures = dict.fromkeys(growth_plot.PANELS.values(), 2.0)
    file = tmp_path / "growth.json"
    file.write_text(json.dumps({"results": {"1,000": figures, "10,000": figures}}))
    command = [sys.executable, str(BENCHMARKS / "growth_plot.py"), "--json", str(file), "--to"]
    for name in ("a.svg", "b.svg"):
        subprocess.run([*command, str(tmp_path / name)], check=True)
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()
    assert drawn.count('id="axes_') == len(growth_plot.PANELS)
