"""All ablations by their names."""

from benchmarks.ablations import (
    asymmetry_paper,
    byol_paper,
    moco_paper,
    simclr_paper,
    simsiam_paper,
    swav_paper,
    term_papers,
)

ABLATIONS = {
    ablation.name: ablation
    for ablation in (
        byol_paper.BATCH,
        byol_paper.VIEWS,
        simsiam_paper.PARTS,
        moco_paper.QUEUE,
        swav_paper.PROTOTYPES,
        swav_paper.CROPS,
        simclr_paper.TEMPERATURE,
        simclr_paper.PROJECTOR,
        asymmetry_paper.SWITCHES,
        *term_papers.ALL,
    )
}
