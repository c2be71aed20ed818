import json

import pytest
import torch

from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.loader.meter import STAGES
from augengine.loader.view_loader import ViewLoader
from augengine.policies import load_policy
from shards.index import ShardIndex
from tools.profiling.trace import record, write_trace

NUM_BATCHES, BATCH_SIZE = 9, 4


@pytest.fixture(scope="module")
def recorded(shard_folder):
    """The spans of a short run on two workers, and what the meter counted."""
    policy = load_policy("swav").with_views((2, 1), (16, 8))
    cpu = torch.device("cpu")
    loader = ViewLoader(
        ShardIndex.open(shard_folder),
        policy,
        batch_size=BATCH_SIZE,
        seed=0,
        backend=create_backend("kornia", cpu),
        decoder=create_decoder("pillow", cpu, 1),
        num_workers=2,
    )
    return record(loader, NUM_BATCHES)


@pytest.fixture(scope="module")
def events(recorded, tmp_path_factory):
    """The same run as a trace file reads, twice: two backends."""
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    write_trace(path, {"loader, a": recorded[0], "loader, b": recorded[0]})
    return json.loads(path.read_text())["traceEvents"]


def slices(events, pid=0):
    return [event for event in events if event["ph"] == "X" and event["pid"] == pid]


def test_stage_sums_are_the_meters(recorded, events):
    """Milliseconds and calls of each stage in the trace are what the meter counted meanwhile."""
    _, counted = recorded
    for stage in STAGES:
        of_stage = [event for event in slices(events) if event["name"] == stage]
        assert len(of_stage) == counted.stages[stage].calls
        total_s = sum(event["dur"] for event in of_stage) / 1e6
        assert total_s == pytest.approx(counted.stages[stage].seconds, rel=1e-6, abs=1e-9)
    assert counted.stages["wait"].calls == NUM_BATCHES
    assert counted.stages["augment"].calls >= NUM_BATCHES - 2  # some began before it recorded


def test_stages_nest_in_their_batch_and_never_overlap(events):
    """On a thread each slice ends before the next begins, or lies inside it, in its batch."""
    for thread in {event["tid"] for event in slices(events)}:
        open_slices = []
        for event in [event for event in slices(events) if event["tid"] == thread]:
            while open_slices and end_of(open_slices[-1]) <= event["ts"]:
                open_slices.pop()
            if open_slices:
                assert end_of(event) <= end_of(open_slices[-1])
                assert open_slices[-1]["name"] == "batch"
                assert event["args"]["batch"] == open_slices[-1]["args"]["batch"]
            open_slices.append(event)
    inside = [event for event in slices(events) if event["name"] in ("read", "draw", "augment")]
    assert len(inside) >= 3 * (NUM_BATCHES - 2)


def end_of(event):
    return event["ts"] + event["dur"]


def test_threads_and_processes_have_names(events):
    """Two workers and the consumer, who only waits; a process a backend, from time 0 each."""
    names = {e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == 0}
    assert len(names) == 3
    assert {"views-0", "views-1"} < names
    named = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert named == {0: "loader, a", 1: "loader, b"}
    assert min(event["ts"] for event in slices(events)) == 0
    assert len(slices(events, 1)) == len(slices(events, 0))


def test_batches_are_numbered_and_their_images_counted(events):
    """Each batch is made once, with all its images, and waited for once."""
    made = [event["args"] for event in slices(events) if event["name"] == "batch"]
    numbers = [args["batch"] for args in made]
    assert len(numbers) == len(set(numbers))
    assert {args["images"] for args in made} == {BATCH_SIZE}
    waits = [event["args"]["batch"] for event in slices(events) if event["name"] == "wait"]
    assert waits == list(range(NUM_BATCHES))
