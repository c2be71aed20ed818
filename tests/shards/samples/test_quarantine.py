"""What is left out is told in one sentence: how many, why, where, and the first."""

from pathlib import Path

from shards.samples.quarantine import Refused, read_quarantine, tell_refused, write_quarantine


def test_kinds_are_counted_without_their_details() -> None:
    """Two sizes are one reason; what is not shown is counted as other reasons."""
    refused = [Refused(f"{k}.jpg", f"too large ({k}x{k})") for k in range(3)]
    assert tell_refused(refused, Path("out")) == (
        "left out 3 bad images, listed in out/quarantine.jsonl; the first is 0.jpg: too large (0x0)"
    )
    refused += [Refused("x.jpg", f"reason {letter}") for letter in "abcdef"]
    assert (
        "left out 9 bad images (3: too large; 1: reason a; 1: reason b; 1: reason c; 3: other"
        in (tell_refused(refused, Path("out")))
    )


def test_a_link_is_not_called_bad() -> None:
    """Nor is a second image of a sample."""
    refused = [Refused("x.jpg", "a symbolic link whose target is not in the tar ('y.jpg')")]
    assert tell_refused(refused, Path("out")).startswith("left out 1 image, listed in")


def test_the_list_is_replaced_and_goes(tmp_path: Path) -> None:
    """It reads back as it was written; nothing to say leaves no file."""
    refused = [Refused("\u00e9.jpg", "the file is empty")]
    write_quarantine(tmp_path, refused)
    assert read_quarantine(tmp_path) == refused
    write_quarantine(tmp_path, [])
    assert read_quarantine(tmp_path) == []
    assert not list(tmp_path.iterdir())
