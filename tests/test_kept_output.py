"""An output is kept until something that the script reads has changed."""

from pathlib import Path

import kept_output
import pytest
from kept_output import output_of


def write(script: Path, printed: int) -> None:
    (script.parent / "numbers_of.py").write_text(f"NUMBER = {printed}\n")
    script.write_text(
        "import os\nfrom numbers_of import NUMBER\n"
        "open(os.environ['RAN'], 'a').write('x')\nprint(NUMBER)\n"
    )


def test_the_script_runs_when_it_or_its_imports_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, then not; again for another import's value, for other arguments, and when asked to."""
    monkeypatch.setattr(kept_output, "KEPT", tmp_path / "kept")
    monkeypatch.delenv("AUGENGINE_RUN_ALL", raising=False)
    script, ran = tmp_path / "script.py", tmp_path / "ran"

    def times() -> int:
        return len(ran.read_text())

    write(script, 3)
    assert [output_of(script, RAN=str(ran)) for _ in range(2)] == [3, 3]
    assert times() == 1
    write(script, 4)
    assert [output_of(script, RAN=str(ran)) for _ in range(2)] == [4, 4]
    assert times() == 2
    numbers = script.parent / "numbers_of.py"
    numbers.write_text(f'"""Of a day."""\n\n{numbers.read_text()}  # a comment\n')
    assert output_of(script, RAN=str(ran)) == 4
    assert times() == 2  # words do nothing
    output_of(script, "argument", RAN=str(ran))
    assert times() == 3
    monkeypatch.setenv("AUGENGINE_RUN_ALL", "1")
    output_of(script, RAN=str(ran))
    assert times() == 4


def test_a_script_that_fails_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is the test's."""
    monkeypatch.setattr(kept_output, "KEPT", tmp_path / "kept")
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit('no kernel')\n")
    for _ in range(2):
        with pytest.raises(AssertionError, match="no kernel"):
            output_of(script)
