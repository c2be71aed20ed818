"""Every command's parser: what is wrong is one line that says what was meant."""

import importlib
from collections.abc import Callable

import pytest

from shards.errors import UsageError
from shards.terminal.commandline import CommandParser, count, version

COMMANDS = {
    "trainer.run": ["--bakend", "x"],
    "trainer.evaluate": ["RUN", "--bakend", "x"],
    "trainer.export": ["RUN", "--out", "x", "--chekpoint", "y"],
    "tools.make_shards": ["A", "B", "--wrokers", "x"],
    "tools.check_shards": ["DIR", "--exprot", "x"],
    "tools.show_views": ["--bakend", "x"],
    "tools.profile_augment": ["--bakends", "x"],
    "tools.simulate_epoch": ["--smaples", "x"],
    "faulty_server": ["DIR", "--prot", "3"],
}


@pytest.fixture
def parse() -> Callable[..., object]:
    """Parses arguments with a parser of a flag, a choice and two keys."""

    def run(*arguments: str) -> object:
        keys = {"lr": ["optim.base_lr"], "momentum": ["optim.momentum", "method.momentum"]}
        parser = CommandParser("cmd", "what it does", keys=lambda: keys)
        parser.add_argument("--batch-size", type=int)
        parser.add_argument("--rounds", type=count)
        parser.add_argument("--kind", choices=("alpha", "beta"))
        parser.add_argument("overrides", nargs="*")
        return parser.parse_intermixed_args(list(arguments))

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "0.1"], "cmd has no flag --lr; did you mean optim.base_lr=0.1?"),
        (["--lr=0.1"], "cmd has no flag --lr; did you mean optim.base_lr=0.1?"),
        (["--lr"], "cmd has no flag --lr; did you mean optim.base_lr=VALUE?"),
        (["--lr", "--kind", "beta"], "did you mean optim.base_lr=VALUE?"),
        (["--momentum", "1"], "did you mean optim.momentum=1 or method.momentum=1?"),
        (["--momentun", "1"], "did you mean optim.momentum=1 or method.momentum=1?"),
        (["--batchsize", "3"], "did you mean --batch-size?"),
        (["--zzz"], "cmd has no flag --zzz; cmd --help shows all"),
        (["--kind", "alphaa"], "--kind is one of alpha, beta, got 'alphaa'; did you mean alpha"),
        (["--batch-size", "x"], "invalid int value: 'x'; cmd --help shows all"),
        (["--rounds", "0"], "--rounds is a whole number from 1 on, got 0; try 1"),
        (["--rounds", "1.5"], "--rounds is a whole number from 1 on, got 1.5; try 1"),
        (["--batch-size"], "expected one argument; cmd --help shows all"),
    ],
)
def test_a_slip_is_told_what_was_meant(
    arguments: list[str], message: str, parse: Callable[..., object]
) -> None:
    """The nearest flag, or the keys of that name with the value that was typed."""
    with pytest.raises(UsageError) as error:
        parse(*arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_has_it(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown flag is one line with exit code 2; --version is there."""
    main = importlib.import_module(module).main
    assert main(COMMANDS[module]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "did you mean --" in error
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"augengine {version()}\n"


def test_a_home_folder_is_the_one_it_means_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a flag's or a key's equals sign too, where shells leave it; no other word changes."""
    monkeypatch.setenv("HOME", "/home/me")
    parser = CommandParser("cmd", "what it does")
    parser.add_argument("--out")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args(["--out=~/runs/x", "data.train=~/sets/a:0.3", "a=b~"])
    assert given.out == "/home/me/runs/x"
    assert given.overrides == ["data.train=/home/me/sets/a:0.3", "a=b~"]
    assert parser.parse_intermixed_args(["--out", "~/x", "x=1=~"]).out == "/home/me/x"
    assert parser.parse_intermixed_args(["x=1=~"]).overrides == ["x=1=~"]
