"""Errors of a user: a command says each in one line, with an exit code and no traceback.

A message gives the rule, the offending value and the remedy. Library code raises; only
`run_command` turns an error into a line and an exit code, so the packages stay usable from a
notebook.
"""

import errno
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_DATA = 1
EXIT_USAGE = 2
# A path that leads nowhere for this user, whoever asks for it.
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)
_MAX_CHARACTERS = 2_000  # of a message: it may quote what a file holds


class UsageError(ValueError):
    """The caller asked for what cannot be: a name, a flag, a config value (exit code 2)."""


class DataError(RuntimeError):
    """The data on disk is not what it should be: missing, torn, corrupt (exit code 1)."""


def run_command(main: Callable[[], int | None]) -> int:
    """Run a command's body and return its exit code, printing an expected error as one line.

    Only `UsageError` and `DataError` are expected, and paths that are closed to the user or no
    paths; anything else is our defect and keeps its traceback. Ctrl-C ends with the shell's
    convention, 130.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A user's names may hold what no text does, or what the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with room_named():
            return main() or 0
    except (UsageError, DataError) as error:
        sys.stderr.write(f"error: {one_line(str(error))}\n")
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_DATA
    except OSError as error:
        if error.errno not in _CLOSED or error.filename is None:
            raise
        line = f"a path is one that you may use, got {error.strerror} for {error.filename}"
        sys.stderr.write(f"error: {one_line(line)}; mend its permissions, or name another\n")
        return EXIT_DATA
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


@contextmanager
def room_named() -> Iterator[None]:
    """A full disk, or memory that numpy, torch or a GPU has not, as a DataError that says so."""
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" for {error.filename}" if error.filename else ""
        raise DataError(
            f"what is written has room on its disk, got {error.strerror}{where}; what was whole "
            "before is intact: free space and run it again"
        ) from error
    except (MemoryError, RuntimeError) as error:
        # torch's are RuntimeErrors: of a GPU by their class, of the host by their words.
        is_torch = type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)
        if not (isinstance(error, MemoryError) or is_torch):
            raise
        what = str(error).partition("\n")[0] or "no memory left"
        raise DataError(
            f"what is worked on at once fits into memory, got: {what}; lower the batch size, the "
            "sizes or the number of views, threads or prefetched batches"
        ) from error


def one_line(text: str) -> str:
    """The text as a terminal may show it: no control characters, and the middle of a long one cut.

    A name in a foreign file can hold anything, also what moves a cursor.
    """
    words = " ".join(text.split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
    if len(line) <= _MAX_CHARACTERS:
        return line
    return f"{line[: _MAX_CHARACTERS - 500]} [...] {line[-500:]}"
