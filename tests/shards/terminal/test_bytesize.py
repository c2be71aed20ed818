import pytest

from shards.errors import UsageError
from shards.terminal.bytesize import parse_size, show_size


def test_sizes_are_read_as_people_write_them() -> None:
    """Binary and decimal units in any case; anything else is refused."""
    assert parse_size("256MiB") == parse_size("256 mib") == 256 << 20
    assert parse_size("1.5GB") == 1_500_000_000
    assert parse_size("4096") == 4096
    for text in ("", "12x", "-1MB", "MiB", "1e9"):
        with pytest.raises(UsageError, match="256MiB"):
            parse_size(text)


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "0.977 KiB"),
        (1536, "1.5 KiB"),
        (999.6 * 2**20, "0.976 GiB"),
        (5 * 2**50, "5 PiB"),
    ],
)
def test_sizes_are_shown_with_three_digits(num_bytes: float, text: str) -> None:
    """In the largest binary unit that leaves at most three digits before the point."""
    assert show_size(num_bytes) == text
