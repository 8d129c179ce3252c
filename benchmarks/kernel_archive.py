"""Compiled kernels from one machine's Triton cache to another's.

    python benchmarks/kernel_archive.py ARCHIVE FOLDER  # unpacks; Triton finds them with TRITON_CACHE_DIR=FOLDER

Triton's cache names its files by their whole path, so that it cannot just be copied: the folder is put in at its new place.
"""

import io
import json
import os
import sys
import tarfile
from pathlib import Path

NEEDED = (".cubin", ".json")  # of what Triton keeps; the rest is only for people to read
GROUP = "__grp__"  # begins the names of files that name others
HERE = "@the cache@"


def pack(cache: Path, path: Path) -> int:
    """The compiled kernels as one archive, which is there whole or not at all; how many they are."""
    part = path.with_suffix(".part")
    files = sorted(file for file in cache.rglob("*") if file.suffix in NEEDED)
    with tarfile.open(part, "w:gz") as archive:
        for file in files:
            data = file.read_bytes()
            if file.name.startswith(GROUP):
                data = travelling(data, cache)
            member = tarfile.TarInfo(str(file.relative_to(cache)))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    os.replace(part, path)
    return sum(file.suffix == ".cubin" for file in files)


def travelling(group: bytes, cache: Path) -> bytes:
    """A group without the files that stay behind, of which Triton 3.9 misses every one, and without the folder."""
    named = json.loads(group)["child_paths"]
    kept = {name: path.replace(str(cache), HERE) for name, path in named.items() if name.endswith(NEEDED)}
    return json.dumps({"child_paths": kept}).encode()


def unpack(path: Path, cache: Path) -> None:
    """Into a folder that becomes, or already is, a cache of Triton's."""
    cache = cache.resolve()
    with tarfile.open(path) as archive:
        archive.extractall(cache, filter="data")
    for file in cache.rglob(f"{GROUP}*"):
        file.write_text(file.read_text().replace(HERE, str(cache)))


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
