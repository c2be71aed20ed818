"""Lines of text."""

from pathlib import Path


class Lines:
    """Appends to RUN/lines.txt, beginning with where it goes on and how."""

    def __init__(self, run: Path, config, from_step: int) -> None:
        self._file = open(run / "lines.txt", "a")
        self._file.write(f"from {from_step} by {config['method']['name']}\n")

    def write(self, step, values) -> None:
        self._file.write(f"{step} {sorted(values)[0]}\n")

    def close(self) -> None:
        self._file.write("closed\n")
        self._file.close()


class Failing:
    """Fails at its second record."""

    def __init__(self) -> None:
        self._written = 0

    def write(self, step, values) -> None:
        self._written += 1
        if self._written == 2:
            raise ConnectionError("server gone")

    def close(self) -> None:
        return None


class Refusing(Failing):
    """Says beforehand that it cannot be."""

    @staticmethod
    def check() -> None:
        from shards.errors import UsageError

        raise UsageError("this logger needs a key, got none; give it one")


class Asking(Failing):
    """Asks for what there is not."""

    def __init__(self, server: str) -> None:
        super().__init__()


def function(run) -> None:
    """No class."""
