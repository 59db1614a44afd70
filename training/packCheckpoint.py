"""A checkpoint's files as the program ships them: packCheckpoint.py CHECKPOINT OUT

Writes OUT/checkpoint/NAME.gz a file, which the zero rows of vocabulary tables make small, and OUT/checkpoint.json with
each file's size and SHA-256; `exampleCheckpoint()` unpacks what they state, and nothing else. The same files give the
same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    files, packed = {}, 0
    for file in sorted(path for path in given.checkpoint.rglob("*") if path.is_file()):
        name, content = file.relative_to(given.checkpoint).as_posix(), file.read_bytes()
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        to = given.out / "checkpoint" / f"{name}.gz"
        to.parent.mkdir(parents=True, exist_ok=True)
        compressed = gzip.compress(content, 9, mtime=0)
        to.write_bytes(compressed)
        packed += len(compressed)
    told = json.dumps({"files": files}, indent=2) + "\n"
    (given.out / "checkpoint.json").write_text(told, encoding="utf-8")
    print(f"{len(files)} files, {packed:,} bytes of {sum(one['bytes'] for one in files.values()):,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
