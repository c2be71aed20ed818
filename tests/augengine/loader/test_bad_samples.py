import pytest

from augengine.loader.bad_samples import BadSamples, log_bad_sample, too_large
from augengine.views import BadSample
from shards.errors import DataError, UsageError


def bad(id, reason="crc32 is wrong"):
    return BadSample(id, f"key{id}", "train-000003.tar", reason)


def test_each_bad_sample_is_named_once():
    """A sample that comes up bad every epoch is warned about, and counted, one time."""
    warned = []
    samples = BadSamples(on_warning=warned.append)
    for _ in range(3):
        samples.count([bad(7)], num_drawn=64)
    assert warned == [bad(7)]
    assert samples.found == (bad(7),)
    assert samples.num_drawn == 192


def test_the_warning_gives_key_shard_and_reason(caplog):
    """By default the name and the reason go to Python's logging as a warning."""
    log_bad_sample(bad(7))
    assert "key7 in train-000003.tar (sample 7): crc32 is wrong" in caplog.text
    assert caplog.records[0].levelname == "WARNING"


@pytest.mark.parametrize(
    ("num_drawn", "allowed"), [(8, 1), (64, 1), (100, 2), (1000, 11), (1001, 1), (5000, 5)]
)
def test_allowance(num_drawn, allowed):
    """1 + 1 % of the first 1,000 samples, then 0.1 % of all of them: one more stops the run."""
    samples = BadSamples(on_warning=lambda sample: None)
    samples.count([bad(id) for id in range(allowed)], num_drawn)
    with pytest.raises(DataError, match=f"at most {allowed} of {num_drawn:,} samples"):
        samples.count([bad(10_000)], 0)


def test_over_budget_lists_names_and_the_remedy():
    """The message has the rule, the latest names, how many more there are, and what to do."""
    samples = BadSamples(on_warning=lambda sample: None)
    with pytest.raises(DataError) as error:
        samples.count([bad(id) for id in range(9)], num_drawn=64)
    message = str(error.value)
    assert "bad_budget 0.001" in message
    assert "key8" in message
    assert "and 4 earlier" in message
    assert "python -m tools.check_shards" in message


@pytest.mark.parametrize("settings", [{"on_bad": "fail"}, {"budget": 0.0}])
def test_no_budget_stops_at_the_first(settings):
    """With on_bad="fail", or a budget of 0, the first bad sample ends the run."""
    samples = BadSamples(**settings, on_warning=lambda sample: None)
    samples.count([], num_drawn=5000)
    with pytest.raises(DataError, match="key1"):
        samples.count([bad(1)], num_drawn=8)


def test_settings_are_checked():
    """A budget is a share, and on_bad one of two words."""
    with pytest.raises(UsageError, match="share in"):
        BadSamples(budget=5)
    with pytest.raises(UsageError, match="substitute, fail"):
        BadSamples(on_bad="ignore")


def test_too_large():
    """100 megapixels may be decoded, one pixel row more may not."""
    assert too_large(10_000, 10_000) is None
    assert "100,000,000" in too_large(10_001, 10_000)
