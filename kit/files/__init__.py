"""Read files from other people within bounds, and replace files without following symbolic links.

Every reader raises UnreadableFile, which names the file and what is wrong with it. Nothing else imports a parser for
files of a run's folder, templates or notebooks.
"""

from kit.files.json_file import parse_json, read_json, read_object
from kit.files.regular_file import read_bytes, read_text
from kit.files.replacement import make_folder, replacing, write_bytes, write_json, write_text

__all__ = [
    "make_folder",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_object",
    "read_text",
    "replacing",
    "write_bytes",
    "write_json",
    "write_text",
]
