"""Scores of one encoder by 1, 2 and 3 ranks, and what they say of sets that cannot be judged.

A script of its own, since it forks: python tests/trainer/eval/shared_ranks.py TRAIN TEST BROKEN.
Prints a list of what each world's ranks found.
"""

import hashlib
import json
import os
import sys
import tempfile
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.policies import load_policy
from shards.index import ShardIndex
from trainer.config import EvalConfig
from trainer.distributed import is_distributed
from trainer.eval.center_views import CenterViews
from trainer.eval.evaluation import Evaluation
from trainer.eval.features import Features, extract
from trainer.eval.labelled import label_sets
from trainer.eval.on_all import GivenUp
from trainer.eval.online import OnlineKnn
from trainer.eval.shared_features import alike, share_features
from trainer.nets.resnet import ResNet
from trainer.settings.data_config import DataConfig

WORLDS = (1, 2, 3)
DEVICE = torch.device("cpu")


def encoder_of(rank: int) -> ResNet:
    """Parameters are the same on all ranks, statistics are not."""
    torch.manual_seed(0)
    network = ResNet(10, width=0.125, stem="small").train()
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer += 0.5 * rank
    return network


def found_by(rank: int, train: Path, test: Path, broken: Path) -> dict[str, Any]:
    settings = EvalConfig(data=str(test), k=5, batch_size=4, size_px=16, probe=True)
    data = DataConfig(workers=1, bad_budget=0.2)
    engine = (load_policy("simsiam"), create_backend("kornia", DEVICE, num_threads=1))
    views = CenterViews(settings, data, *engine, create_decoder("pillow", DEVICE, num_threads=1))
    sets = label_sets(ShardIndex.open(train), ShardIndex.open(test))
    knn = OnlineKnn(views, sets, DEVICE)
    network = encoder_of(rank)
    own = [buffer.clone() for buffer in network.buffers()]
    score, random = knn(network), knn.random_encoder(network)
    is_left = all(map(torch.equal, own, network.buffers()))
    row = Evaluation(views, sets, DEVICE).score("encoder", network.eval())
    with alike(network):
        shared = share_features(views, sets, lambda _, v: extract(network, v, DEVICE))
    dist_counts = shared.counts
    whole = shared.on_first(lambda *both: hashlib.sha256(_bytes(*both)).hexdigest())
    bad = label_sets(ShardIndex.open(train), ShardIndex.open(broken))
    return {
        "scores": [score.knn, score.probe, random.knn, random.probe, row.knn, row.linear],
        "features": whole,
        "is_left": is_left,
        "left_out": [views.num_left_out(name) for name in ("train", "eval")],
        "met": len(views.bad),
        "shares": [len(shared.train.values), max(dist_counts) - min(dist_counts)],
        "broken": _raised(lambda: OnlineKnn(views, bad, DEVICE)(network)),
        "stopped": _raised(lambda: knn(network, lambda: rank == 1 or not is_distributed())),
    }


def _bytes(train: Features, test: Features) -> bytes:
    tensors = (train.values, train.labels, test.values, test.labels)
    return b"".join(t.contiguous().numpy().tobytes() for t in tensors)


def _raised(work: Any) -> str:
    try:
        work()
    except (RuntimeError, GivenUp) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(argv: list[str]) -> None:
    """Fork the ranks of one world after the other."""
    for folder in argv:
        ShardIndex.open(folder)
    results = []
    for world in WORLDS:
        with tempfile.TemporaryDirectory() as folder:
            children = [_fork(rank, world, Path(folder), argv) for rank in range(world)]
            for child in children:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            results.append(
                [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(world)]
            )
    sys.stdout.write(json.dumps(results))


def _fork(rank: int, world: int, folder: Path, argv: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        if world > 1:
            store = dist.FileStore(str(folder / "store"), world)
            dist.init_process_group("gloo", None, timedelta(seconds=60), world, rank, store)
        found = found_by(rank, *map(Path, argv))
        (folder / f"{rank}.json").write_text(json.dumps(found))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
