"""Claims and outcomes, decided from scores alone; the papers' own numbers are on their side."""

from dataclasses import replace

import pytest

from benchmarks.ablations.ablation import CHANCE, UNTRAINED, Ablation, Cell, Claim, judged, loses
from benchmarks.ablations.ablation_table import ABLATIONS

# What the papers measured, under the labels of the nearest cells. Chance stands for untrained.
PUBLISHED = {
    "byol-batch": {
        "BYOL": {"256": 72.5, "128": 72.4, "64": 72.2, "32": 72.2, "16": 71.8},
        "SimCLR": {"256": 67.9, "128": 67.8, "64": 67.4, "32": 66.5, "16": 64.3},
    },
    "byol-views": {
        "BYOL": {
            "all": 72.5,
            "no gray": 70.3,
            "no blur": 71.2,
            "no colour": 63.4,
            "crop + blur": 61.1,
            "crop": 59.4,
        },
        "SimCLR": {
            "all": 67.9,
            "no gray": 61.9,
            "no blur": 65.2,
            "no colour": 45.7,
            "crop + blur": 41.7,
            "crop": 40.3,
        },
    },
    "simsiam": {"SimSiam": {"whole": 67.7, "no stop-gradient": 0.1, "no predictor": 0.1}},
    "simclr-temperature": {
        "SimCLR": {"0.05": 59.7, "0.1": 64.4, "0.2": 63.0, "0.5": 60.7, "1": 58.0}
    },
    "simclr-projector": {"SimCLR": {"none": 50.0, "linear": 61.0, "MLP": 64.0}},
    "swav-crops": {"SwAV": {"2": 70.1, "2+2": 72.0, "2+4": 73.5, "2+6": 74.6}},
    "swav-prototypes": {"SwAV": {"24": 70.0, "48": 73.9, "192": 74.0, "768": 73.7}},
}
# The others have a margin of less than CHANCE there, or of a figure without numbers.
UNDECIDED = {"moco-queue": {"MoCo v1": {"64": 57.0, "256": 58.0, "1024": 59.0, "4096": 58.9}}}


def scores(published: dict[str, dict[str, float]]) -> dict[str, float]:
    found = {f"{s}, {at}": score for s, line in published.items() for at, score in line.items()}
    return found | {UNTRAINED: 0.1}


def toy(margin: float) -> Ablation:
    return Ablation(
        name="toy",
        question="?",
        source="nobody",
        finding="nothing",
        unlike="nothing",
        across="nothing",
        cells=(Cell(series="A", at="x", words=()), Cell(series="A", at="y", words=("--k", "1"))),
        claims=(Claim("x is better", lambda found: margin + loses(found, "A, x", "A, y")),),
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_papers_numbers_hold(name: str) -> None:
    """Each claim is what its paper found: with its scores in the cells every one of them holds."""
    assert [v.outcome for v in judged(ABLATIONS[name], scores(PUBLISHED[name]))] == ["holds"] * len(
        ABLATIONS[name].claims
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_difference_is_no_finding(name: str) -> None:
    """Where all cells have one score no claim holds, but the one that they differ by little."""
    alike = dict.fromkeys(scores(PUBLISHED[name]), 40.0)
    outcomes = {v.outcome for v in judged(ABLATIONS[name], alike)}
    assert outcomes == {"holds" if name == "swav-prototypes" else "undecided"}


def test_the_other_way_fails() -> None:
    """Cells in the opposite order are against the claim; a little of it is undecided."""
    (queue,) = judged(ABLATIONS["moco-queue"], scores(UNDECIDED["moco-queue"]))
    assert (queue.outcome, queue.margin) == ("undecided", pytest.approx(1.9))
    worse = scores({"MoCo v1": {"64": 60.0, "256": 58.0, "1024": 57.0, "4096": 50.0}})
    assert judged(ABLATIONS["moco-queue"], worse)[0].outcome == "fails"
    wide = scores({"SwAV": {"24": 70.0, "48": 60.0, "192": 70.0, "768": 73.7}})
    assert judged(ABLATIONS["swav-prototypes"], wide)[0].outcome == "fails"
    kept = {
        "SimSiam, whole": 50.0,
        "SimSiam, no stop-gradient": 49.0,
        "SimSiam, no predictor": 25.0,
    }
    said = [v.outcome for v in judged(ABLATIONS["simsiam"], kept | {UNTRAINED: 29.0})]
    assert said == ["fails", "holds"]


@pytest.mark.parametrize(
    ("margin", "outcome"),
    [(CHANCE, "holds"), (-CHANCE, "fails"), (CHANCE - 0.01, "undecided"), (0.0, "undecided")],
)
def test_chance_decides_nothing(margin: float, outcome: str) -> None:
    """From CHANCE on a margin says something, on one side or the other."""
    (verdict,) = judged(toy(margin), {"A, x": 40.0, "A, y": 40.0, UNTRAINED: 20.0})
    assert verdict.outcome == outcome
    assert str(verdict) == f"{outcome} ({margin:+.1f} points): x is better"


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_claim_is_of_its_cells(name: str) -> None:
    """All cells decide all claims, and without any each is open."""
    every = dict.fromkeys((UNTRAINED, *(cell.label for cell in ABLATIONS[name].cells)), 40.0)
    assert None not in [verdict.margin for verdict in judged(ABLATIONS[name], every)]
    assert {verdict.margin for verdict in judged(ABLATIONS[name], {})} == {None}


def test_a_claim_waits_for_its_own_cells_alone() -> None:
    """Two cells of SimSiam's three decide one of its claims."""
    two = {"SimSiam, whole": 35.0, "SimSiam, no stop-gradient": 26.0, UNTRAINED: 29.0}
    assert [verdict.outcome for verdict in judged(ABLATIONS["simsiam"], two)] == [
        "holds",
        "not run",
    ]


def test_a_claim_of_no_cell_is_a_mistake() -> None:
    """A wrong label is not taken for a cell that lacks."""
    wrong = replace(toy(0.0), claims=(Claim("z is better", lambda found: found["A, z"]),))
    with pytest.raises(KeyError, match="A, z"):
        judged(wrong, {"A, x": 40.0})


def test_a_missing_cell_leaves_a_claim_open() -> None:
    """Half of what it compares decides nothing, and says so."""
    (verdict,) = judged(toy(9.0), {"A, x": 40.0, UNTRAINED: 20.0})
    assert (verdict.margin, verdict.outcome) == (None, "not run")
    assert str(verdict) == "not run: x is better"
