"""Writes the scripts of workflows into files, for shellcheck.

usage: scripts.py FOLDER FILE…
"""

import pathlib
import re
import sys

from ruamel.yaml import YAML

folder, *files = sys.argv[1:]
for file in map(pathlib.Path, files):
    jobs = YAML(typ="safe").load(file.read_text(encoding="utf-8"))["jobs"]
    for job, definition in jobs.items():
        for number, step in enumerate(definition.get("steps", [])):
            if "run" in step:
                # GitHub replaces expressions before the shell reads the script.
                script = re.sub(r"\$\{\{.*?\}\}", "expression", step["run"])
                name = f"{file.stem}-{job}-{number}"
                pathlib.Path(folder, name).write_text(f"set -eo pipefail\n{script}\n", encoding="utf-8")
