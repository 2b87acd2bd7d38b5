"""The work of the demo: look at one file of an installed package, or at one line of it."""
import os
import stat
import zlib

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


def look(record):
    """The record, with what the file system says about its path."""
    result = dict(record, kind="missing", crc=zlib.crc32(record.get("text", record["path"]).encode()))
    try:
        found = os.lstat(record["path"])
    except OSError:
        return result
    return dict(result, kind=KINDS.get(stat.S_IFMT(found.st_mode), "other"), bytes=found.st_size)
