"""Which files of a folder are its tars, for all who look into one."""

from pathlib import Path


def is_tar_name(name: str) -> bool:
    """Whether a file is called like a tar; hidden ones are what systems leave (`._x.tar`)."""
    return name.endswith(".tar") and not name.startswith(".")


def tars_of(folder: Path) -> list[Path]:
    """The tars directly in a folder, sorted."""
    return sorted(path for path in folder.glob("*.tar") if is_tar_name(path.name))
