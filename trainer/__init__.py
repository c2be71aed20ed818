"""Views to a trained encoder.

The files here are a run, in the order in which it happens:

    run.py          the command: what was typed, its errors, its exit code
    config.py       every key that decides a run, its default and its meaning
    build.py        from a config to the parts: data, engine, method, optimizer
    train.py        the loop: batch, step, record, save, evaluate
    step.py         one optimizer step: forward, backward, update
    checkpoint.py   the run on disk, whole or absent
    evaluate.py     the second command: what a frozen encoder is worth
    export.py       the third: the encoder alone, for other programs

They stand on checks.py (a rule that must hold) and distributed.py (ranks and their collectives).
Everything else is in a wing; its `__init__.py` says what it holds, and the contract `trainer` in
setup.cfg which wing may import which. A method is a file in `methods`, its loss one in `losses`.
"""
