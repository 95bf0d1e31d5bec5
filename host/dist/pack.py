"""Packs files so that the same files give the same archive.

usage: pack.py ARCHIVE FILE=NAME...

ARCHIVE ends with .zip or .tar.gz. A NAME with bin/ in it, or that is `bootstrap`, can be run.
"""

import gzip
import io
import os
import sys
import tarfile
import zipfile

# The first moment that a zip can have.
MOMENT = (1980, 1, 1, 0, 0, 0)

archive, *wanted = sys.argv[1:]
files = sorted((name, path) for path, name in (one.split("=", 1) for one in wanted))


def mode(name):
    return 0o755 if name == "bootstrap" or "bin/" in name else 0o644


def read(path):
    with open(path, "rb") as file:
        return file.read()


if archive.endswith(".zip"):
    with zipfile.ZipFile(archive, "w") as out:
        for name, path in files:
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.external_attr = (0o100000 | mode(name)) << 16
            out.writestr(entry, read(path), zipfile.ZIP_DEFLATED, compresslevel=9)
else:
    with open(archive, "wb") as out, gzip.GzipFile("", "wb", 9, out, 0) as packed, tarfile.open(
        fileobj=packed, mode="w"
    ) as tar:
        for name, path in files:
            content = read(path)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode(name)
            tar.addfile(entry, io.BytesIO(content))
print(f"{archive}: {os.path.getsize(archive) / 1e6:.1f} MB")
