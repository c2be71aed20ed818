import threading

import pytest

from augengine.loader.meter import STAGES, Meter


def test_stages_add_up_over_threads():
    """Calls, images and seconds of a stage are the sums over all threads, none lost."""
    meter = Meter()

    def work():
        for _ in range(500):
            meter.add("decode", 4, 0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    decode = meter.snapshot().stages["decode"]
    assert (decode.calls, decode.images) == (2000, 8000)
    assert decode.seconds == pytest.approx(2.0)
    assert decode.ms_per_image == pytest.approx(0.25)


def test_measure_times_its_body_even_when_it_raises():
    """A stage that fails has still taken its time."""
    meter = Meter()
    with pytest.raises(KeyError), meter.measure("read", 3):
        raise KeyError
    read = meter.snapshot().stages["read"]
    assert (read.calls, read.images) == (1, 3)
    assert read.seconds > 0


def test_difference_of_snapshots_is_the_time_between():
    """`b - a` counts only what happened after a: images, bad samples, stages, wall time."""
    meter = Meter()
    meter.delivered(8, 64, num_bad=1)
    meter.add("augment", 8, 0.5)
    earlier = meter.snapshot()
    meter.delivered(4, 32)
    meter.add("augment", 4, 0.25)
    between = meter.snapshot() - earlier
    assert (between.images, between.views, between.bad_samples) == (4, 32, 0)
    assert between.stages["augment"].images == 4
    assert between.stages["augment"].seconds == pytest.approx(0.25)
    assert 0 < between.wall_s < 1


def test_wait_share_is_the_consumers_blocked_time_over_the_wall(monkeypatch):
    """3 s of waiting in 4 s of wall time is a wait share of 0.75."""
    now = iter([10.0, 14.0])
    monkeypatch.setattr("augengine.loader.meter.time.perf_counter", lambda: next(now))
    meter = Meter()
    meter.add("wait", 8, 3.0)
    meter.delivered(8, 64)
    snapshot = meter.snapshot()
    assert snapshot.wait_share == pytest.approx(0.75)
    assert snapshot.images_per_s == pytest.approx(2.0)


def test_bottleneck_is_the_slowest_worker_stage():
    """The stage with most thread time is named; waiting is a consequence, not a stage to blame."""
    meter = Meter()
    for stage in STAGES:
        meter.add(stage, 1, {"augment": 2.0, "wait": 9.0}.get(stage, 1.0))
    assert meter.snapshot().bottleneck == "augment"


def test_an_empty_meter_divides_by_nothing():
    """Before the first batch every rate is 0."""
    snapshot = Meter().snapshot()
    assert snapshot.stages["read"].ms_per_image == 0
    assert snapshot.wait_share == 0
    assert snapshot.images_per_s == 0


def test_spans_are_kept_only_while_recording():
    """Nothing before `record_spans` or after `take_spans`; the counts go on as ever."""
    meter = Meter()
    meter.add("read", 1, 0.1)
    meter.record_spans()
    with meter.batch(7, 2), meter.measure("decode", 2):
        pass
    meter.add("wait", 2, 0.0)
    spans = meter.take_spans()
    meter.add("read", 1, 0.1)
    assert [(span.name, span.batch, span.images) for span in spans] == [
        ("decode", 7, 2),
        ("batch", 7, 2),
        ("wait", 0, 2),
    ]
    assert {span.thread for span in spans} == {threading.current_thread().name}
    assert meter.take_spans() == ()
    assert meter.snapshot().stages["read"].calls == 2


def test_a_span_lies_inside_its_batch_and_belongs_to_no_other():
    """A stage starts after its batch does and ends before it; after the batch there is none."""
    meter = Meter()
    meter.record_spans()
    with pytest.raises(OSError, match="gone"), meter.batch(3, 4), meter.measure("read", 4):
        raise OSError("gone")
    meter.add("draw", 1, 0.0)
    read, batch, draw = meter.take_spans()
    assert batch.start_s <= read.start_s
    assert read.start_s + read.seconds <= batch.start_s + batch.seconds
    assert draw.batch is None


def test_a_pause_is_no_wall_time(monkeypatch):
    """8 images in 4 s beside 100 s of evaluation are two a second."""
    now = iter([10.0, 12.0, 112.0, 114.0])
    monkeypatch.setattr("augengine.loader.meter.time.perf_counter", lambda: next(now))
    meter = Meter()
    with meter.paused():
        meter.delivered(8, 64)
    snapshot = meter.snapshot()
    assert snapshot.wall_s == pytest.approx(4.0)
    assert snapshot.images_per_s == pytest.approx(2.0)
