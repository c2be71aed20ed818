"""What a person sees of a run and of its scores has the names that they gave."""

import math

import pytest

from trainer.command.scoreboard import print_head, print_protocol, print_row
from trainer.eval.evaluation import Score
from trainer.record.display import PACE_STEPS, Display, Pace, Speed

SPEED = Speed(8.0, 0.0)
NAME = "runs/[bs 8] :cat: simclr[/]"


def test_sentences_and_warnings_keep_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, as they are."""
    with Display(10) as display:
        display.say(f"run {NAME}")
        display.warn(f"no room in {NAME}")
    assert capsys.readouterr().err == f"run {NAME}\nwarning: no room in {NAME}\n"


def test_a_table_of_scores_keeps_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    """The run in the title, the encoders in the rows, the data below."""
    conditions = {"run": NAME, "test": f"test {NAME}", "train": f"train {NAME}"}
    numbers = {"test_images": 2, "train_images": 3, "largest_class": 0.5, "size_px": 32}
    conditions |= numbers | {"k": 20, "temperature": 0.1, "linear": "none", "raw_pixels": "all"}
    print_head(NAME)
    print_row(Score("[random] encoder", 0.5, 0.25, 1.0, 8))
    print_protocol(conditions, "classes by number")
    printed = capsys.readouterr().out
    for text in (f"{NAME}: frozen", "[random] encoder", f"of test {NAME},", f"of train {NAME};"):
        assert text in printed


def test_the_time_left_is_of_steps_alone() -> None:
    """Neither the compile of the first steps nor an evaluation makes it longer."""
    pace = Pace()
    pace.step(100.0)  # compiled
    assert pace.seconds_per_step is None
    for now in (101.0, 102.0, 103.0):
        pace.step(now)
    assert pace.seconds_per_step == 1.0
    pace.pause(60.0)
    pace.step(164.0)
    assert pace.seconds_per_step == 1.0
    for now in range(166, 166 + 2 * PACE_STEPS, 2):
        pace.step(float(now))
    assert pace.seconds_per_step == 2.0  # of the last ones


def test_a_line_tells_the_time_left_when_it_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from one step that has compiled for a minute."""
    times = iter([0.0, 60.0, 61.0, 62.0, 62.0, 92.0, 93.0])
    monkeypatch.setattr("trainer.record.display.time.monotonic", lambda: next(times))
    monkeypatch.setattr("trainer.record.display.SECONDS_BETWEEN_LINES", 0.0)
    display = Display(64)
    for step in (1, 2, 3):
        display.update(step, 1.0, SPEED)
    with display.paused():
        pass
    display.update(4, 1.0, SPEED)
    first, second, third, fourth = capsys.readouterr().err.splitlines()
    assert "left" not in first + second
    assert third.endswith("  1m01s left")
    assert fourth.endswith("  1m00s left")


def test_a_line_tells_what_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the speed of the first steps; the loss beside that of a constant output, if any."""
    monkeypatch.setattr("trainer.record.display.SECONDS_BETWEEN_LINES", 0.0)
    display = Display(9)
    display.update(1, math.nan)
    display.update(2, 6.93121, None, 7.01212)
    display.update(3, 6.93121, SPEED)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "step 1/9"
    assert second == "step 2/9  loss 6.9312 (constant output 7.0121)"
    assert third.startswith("step 3/9  loss 6.9312  8 img/s  data wait 0.0%")
