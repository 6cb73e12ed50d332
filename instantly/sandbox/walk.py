"""The curl walk that `python app.py` prints, ready to paste: that of the README."""

import re
from collections.abc import Mapping
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
# A paragraph, if there is one, and the commands under it.
COMMANDS = re.compile(r"(?:^(\S.*(?:\n\S.*)*)\n\n)?^```sh\n((?:.*\n)*?)^```$", re.MULTILINE)


def curl_walk(replacements: Mapping[str, str]) -> str:
    """The README's commands with its prose as comments; what it names is replaced."""
    _, _, section = README.read_text(encoding="utf-8").partition("\n## A walk with curl\n")
    lines = ["# Try it: paste this into another terminal."]
    for prose, commands in COMMANDS.findall(section.partition("\n## ")[0]):
        lines += [f"# {line}" for line in prose.splitlines()]
        lines.append(commands)
    walk = "\n".join(lines)
    for name, value in replacements.items():
        walk = walk.replace(name, value)
    return walk
