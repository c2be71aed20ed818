"""Any two features of a run meet in some row of the array, and the row ends as it must."""

import json
import re
import shlex
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_server import FaultyServer
from moto.server import ThreadedMotoServer
from pair_features import (
    SIZES,
    Row,
    covering_rows,
    pairs_of,
    possible_pairs,
    refusal,
    refused_rows,
)
from pair_sets import (
    NUM_IMAGES,
    damage,
    evaluation_samples,
    make_set,
    training_samples,
)
from toy_methods import TOY
from typed import typed

from trainer import checkpoint
from trainer.record.log import read_metrics
from trainer.record.samplelog import count_ids

# boto3 and moto still use what Python wants to be without.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
BATCH_SIZE = 16
STOP_AFTER = 2
OWN_POLICY = """\
groups:
- {count: 1, size_px: 32, views: [{scale: [0.3, 1.0]}]}
- {count: 1, size_px: 32, views: [{scale: [0.3, 1.0], blur: 0.5}]}
- {count: 6, size_px: 16, views: [{scale: [0.05, 0.3]}]}
defaults: {flip: 0.5, jitter: 0.8, brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.05}
"""


def name_of(row: Row) -> str:
    return "-".join(row.values())


def test_the_array_holds_every_pair_that_may_be() -> None:
    """In a run that is done, each value of a feature stands beside each of every other one."""
    rows = covering_rows()
    assert possible_pairs() == {pair for row in rows for pair in pairs_of(row)}
    assert not [row for row in rows if refusal(row)]
    assert all(refusal(row) for row in refused_rows())


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The environment in which s3:// means a server on the loopback."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ACCESS_KEY_ID": "AKIAPAIRS",
        "AWS_SECRET_ACCESS_KEY": "pairs",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    server.stop()


@pytest.fixture
def addressed(
    s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path, str], str]]:
    """addressed(folder, source): where a run is told to find the shards of the folder."""
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path / "cache"))
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    servers: list[FaultyServer] = []

    def address(folder: Path, source: str) -> str:
        if source == "http":
            servers.append(FaultyServer(folder))
            return servers[-1].url
        return upload(folder, s3["AWS_ENDPOINT_URL"]) if source == "s3" else str(folder)

    yield address
    for server in servers:
        server.close()


def upload(folder: Path, endpoint: str) -> str:
    import boto3

    client, bucket = boto3.client("s3", endpoint_url=endpoint), f"pairs-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    for path in folder.iterdir():
        if path.is_file():
            client.put_object(Bucket=bucket, Key=f"set/{path.name}", Body=path.read_bytes())
    return f"s3://{bucket}/set"


def arguments_of(row: Row, folder: Path, data: str, held_out: str | None) -> str:
    """The command line that a user with this row's wishes types."""
    out = folder / "run"
    settings = TOY[row["method"]] | ({"groups": 2} if row["method"] == "mocov2" else {})
    policy = "simsiam" if row["policy"] == "shipped" else str(folder / "own.yaml")
    if row["policy"] == "shipped" and row["views"] != "2":
        policy = "swav"
    (folder / "own.yaml").write_text(OWN_POLICY)
    values = {
        "backbone.width": 0.125 if row["arch"].startswith("resnet") else 1.0,
        "policy.name": policy,
        "data.decoder": row["decoder"],
        "data.bad_budget": 0.5,
        "data.remote_timeout_s": 20,
        "loop.accumulate": row["accumulate"],
        "loop.precision": row["precision"],
        "data.cache": row["cache"],
        "data.verify": row["verify"],
        "loop.window_shards": row["window"],
        "eval.size_px": row["eval_px"],
        "optim.name": row["optimizer"],
        "optim.base_lr": {"sgd": 0.05, "lars": 0.5, "adamw": 0.001, "muon": 0.02}[row["optimizer"]],
        "optim.warmup_epochs": 0.5,
        "run.record_ids": "true",
        "run.log_every": 1,
        "run.save_every_steps": 1,
        "run.device": "cpu",
        "eval.k": 3,
        **{f"method.{key}": json.dumps(value) for key, value in settings.items()},
    }
    flags = {
        "--data": data,
        "--method": row["method"],
        "--views": row["views"],
        "--sizes": SIZES[row["views"]],
        "--arch": row["arch"],
        "--backend": row["backend"],
        "--batch-size": str(BATCH_SIZE),
        "--epochs": row["epochs"],
        "--out": str(out),
        "--config": str(folder / "empty.yaml"),
    }
    (folder / "empty.yaml").write_text("{}\n")
    if held_out is not None:
        flags["--eval-data"] = held_out
    words = [*(x for pair in flags.items() for x in pair), *(f"{k}={v}" for k, v in values.items())]
    return shlex.join(words)


def run_command(arguments: str, ranks: int) -> str:
    program = "python" if ranks == 1 else f"torchrun --nproc-per-node {ranks}"
    return f"{program} -m trainer.run {arguments}"


@pytest.mark.long
@pytest.mark.parametrize("row", [*covering_rows(), *refused_rows()], ids=name_of)
def test_a_row_ends_as_it_must(
    row: Row, tmp_path: Path, addressed: Callable[[Path, str], str]
) -> None:
    """Done with every sample once, scored and handed on; or one line before anything is written."""
    train = make_set(training_samples(row["labels"]), row["source"], tmp_path / "train")
    held_out = None
    if row["evaluation"] != "none":
        test = make_set(evaluation_samples(row["evaluation"]), "folder", tmp_path / "test")
        if row["evaluation"] == "damaged":
            damage(test)
        held_out = str(test)
    if row["bad"] == "some":
        damage(train)
    data = addressed(train, row["source"])
    if row["evaluation"] == "itself":
        held_out = data
    arguments, run = arguments_of(row, tmp_path, data, held_out), tmp_path / "run"
    ranks = int(row["ranks"])
    command, wanted = run_command(arguments, ranks), refusal(row)
    if wanted is not None:
        said = typed(command, tmp_path, code=None)
        assert re.search(rf"error: .*{wanted}", said), said
        assert not run.exists(), said
        return
    if row["resume"] == "killed":
        said = typed(command, tmp_path, -9 if ranks == 1 else 1, KILL_AFTER=f"0:{STOP_AFTER + 1}")
        assert checkpoint.steps(run), said
    elif row["resume"] != "none":
        said = typed(command, tmp_path, 143 if ranks == 1 else None, STOP_AFTER=str(STOP_AFTER))
        assert f"stopped after step {STOP_AFTER}" in said, said
        ranks = ranks if row["resume"] == "same" else 3 - ranks
    if row["resume"] != "none":
        (tmp_path / "own.yaml").unlink()  # the run knows its policy
        command = run_command(f"--out {run} --resume", ranks)
    said = typed(command, tmp_path)
    check_run(row, run, said)
    hand_on(row, run, held_out)


def check_run(row: Row, run: Path, said: str) -> None:
    """Every step, every sample once, every score, every bad image named."""
    total = int(float(row["epochs"]) * NUM_IMAGES / BATCH_SIZE)
    assert checkpoint.load(checkpoint.find(run))["step"] == total
    assert f"{total:,} steps done" in said
    counts = count_ids(run)
    assert counts.total() == total * BATCH_SIZE
    if row["bad"] == "none":
        assert set(counts.values()) == {1}
    assert bool(list(run.glob("bad-samples-rank*.jsonl"))) == (
        row["bad"] == "some" or row["evaluation"] == "damaged"
    )
    scores = {r["step"]: r["knn"] for r in read_metrics(run) if "knn" in r}
    assert (0 in scores and total in scores) == (row["evaluation"] != "none")
    assert all(0 <= score <= 1 for score in scores.values())


def hand_on(row: Row, run: Path, held_out: str | None) -> None:
    """The run is exported, or scored where there is something to score it on."""
    if row["after"] == "export" or held_out is None:
        typed("python -m trainer.export run --out encoder.safetensors", run.parent)
        assert (run.parent / "encoder.safetensors").stat().st_size > 1000
        return
    typed("python -m trainer.evaluate run --json scores.json", run.parent)
    assert len(json.loads((run.parent / "scores.json").read_text())["scores"]) == 2
