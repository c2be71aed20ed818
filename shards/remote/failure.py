"""A failed request, judged: whether another try can help, and a reason that holds no secret.

The libraries' own texts may quote addresses with signatures or keys, so a reason is built from
statuses, error codes and names of classes only. Nothing is imported for it: s3fs, gcsfs and aiohttp
are told apart by what their errors carry.
"""

import asyncio
import errno

# Mistakes of a program or a setting, not of a network: of botocore, google-auth and aiohttp.
_NEVER = ("CredentialsError", "ProfileNotFound", "ParamValidationError", "InvalidURL", "TokenError")
_NEVER += ("NoRegionError", "TokenRetrievalError", "CertificateError")
_PASSING_STATUSES = (408, 425, 429)  # of the 4xx: timed out, too early, too many requests
_WORDS = {401: "access denied", 403: "access denied", 404: "not found", 416: "shorter than that"}


def is_permanent(error: BaseException) -> bool:
    """Whether the same request will fail again."""
    status = _status(error)
    if status is not None:
        return 400 <= status < 500 and status not in _PASSING_STATUSES
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return isinstance(error, FileNotFoundError | PermissionError) or any(
        name in type(error).__name__ for name in _NEVER
    )


def is_missing(error: BaseException) -> bool:
    """Whether what was asked for is not there, rather than closed or out of reach."""
    return _status(error) == 404


def reason_of(error: BaseException, limit_s: float) -> str:
    """A few words: `not found (404)`, `no whole answer within 20 s`, `ClientConnectorError`."""
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return f"no whole answer within {limit_s:.3g} s"
    status, code = _status(error), _code(error)
    if status is None:
        return " ".join(word for word in (type(error).__name__, code) if word)
    # S3 sends the status as the code of answers without a body.
    more = code if code and not code.isdecimal() else ""
    words = (_WORDS.get(status, "HTTP status"), more, f"({status})")
    return " ".join(word for word in words if word)


def _status(error: BaseException) -> int | None:
    """The HTTP status, from the error or from the one that it stands for."""
    cause: BaseException | None = error
    while cause is not None:
        # aiohttp's, botocore's, gcsfs's way to carry it. aiohttp's parser has codes that came over
        # no network.
        response = getattr(cause, "response", None)
        answered = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
        is_gcsfs = type(cause).__module__.startswith("gcsfs")
        for value in (
            getattr(cause, "status", None),
            answered.get("HTTPStatusCode"),
            getattr(cause, "code", None) if is_gcsfs else None,
        ):
            if isinstance(value, int):
                return value
        cause = cause.__cause__
    if isinstance(error, FileNotFoundError):
        return 404
    return 403 if isinstance(error, PermissionError) else None


def _code(error: BaseException) -> str:
    """S3's word for it, such as SlowDown."""
    for cause in (error, error.__cause__):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""
