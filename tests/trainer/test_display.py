"""What a person sees of a run and of its scores has the names that they gave."""

import pytest

from trainer.display import Display
from trainer.eval.evaluation import Score
from trainer.eval.scoreboard import print_head, print_protocol, print_row

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
