"""Content for large downloads that can be checked byte by byte by whoever receives it.

It is a row of blocks of 64 KiB. Block `n` begins with `n` in fifteen digits and a line feed; the rest
is the same in each. So a block that is lost, doubled, damaged or out of order shows in the hash,
and the receiver can compute what it should have got.
"""

import tempfile
from pathlib import Path

BLOCK_BYTES = 64 * 1024
BLOCKS_PER_MIB = 16
MIB_MAX = 2048
FILLER = (bytes(range(256)) * 256)[16:]


def blocks(mib):
    """The blocks of an archive of `mib` MiB."""
    for number in range(mib * BLOCKS_PER_MIB):
        yield b"%015d\n" % number + FILLER


def archive_file(folder, mib):
    """The archive as a file, written on first use; opened for reading."""
    path = folder / f"archive-{mib}.bin"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as draft:
            for block in blocks(mib):
                draft.write(block)
        Path(draft.name).replace(path)
    return path.open("rb")
