#!/usr/bin/env python3
"""Holds the commands that README, docs, examples and scripts show to the program: each names a command that exists and flags
that its --help lists; each path of the repository that the documents name is there; the scripts parse.

    check_commands.py --fathom build/release/src/cli/fathom
"""

import argparse
import functools
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def documents():
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def scripts():
    return [*sorted((ROOT / "examples").glob("*.sh")), *sorted((ROOT / "scripts").glob("*.sh"))]


def joined_lines(path):
    """(line number, text) with lines that end in a backslash joined to the next."""
    held, start = "", 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        start = start if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        yield start, held + line
        held = ""


def commands(path):
    """(line, words) of each fathom command that a document or script shows."""
    for number, line in joined_lines(path):
        if path.suffix == ".md":
            shown = re.findall(r"^ {4}fathom (.*)", line) + re.findall(r"`fathom ([a-z][^`]*)`", line)
        else:
            shown = re.findall(r'"\$(?:fathom|FATHOM)" ([a-z][^;|&>]*)', line)
        for text in shown:
            text = re.split(r"\s#|[|;>]", text)[0]
            yield number, re.sub(r'"[^"]*"|\'[^\']*\'', "TEXT", text).split()


@functools.lru_cache(maxsize=None)
def help_of(fathom, *command):
    run = subprocess.run([fathom, *command, "--help"], capture_output=True, text=True, check=False)
    return run.stdout if run.returncode == 0 else None


def flags_of(fathom, words):
    """The flags that --help lists for the command `words` begins with, or None where there is no such command."""
    command = [words[0]]
    text = help_of(fathom, *command)
    if text is None:
        return None
    if len(words) > 1 and re.search(r"^  " + re.escape(words[1]) + r"\b", text, re.M):  # a subcommand: tokenizer train
        text += help_of(fathom, words[0], words[1]) or ""
    return set(re.findall(r"--[a-z][a-z0-9-]*", text))


def check_commands(fathom, path, problems):
    count = 0
    for number, words in commands(path):
        count += 1
        where = f"{path.relative_to(ROOT)}:{number}"
        known = flags_of(fathom, words)
        if known is None:
            problems.append(f"{where}: there is no command '{words[0]}'")
            continue
        for word in words[1:]:
            flag = re.match(r"--[a-z][a-z0-9-]*", word)
            if flag and flag[0] not in known:
                problems.append(f"{where}: '{words[0]}' has no flag {flag[0]}")
    return count


def check_paths(path, problems):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for name in re.findall(r"(?<![\w/-])(?:docs|configs|scripts|examples|src|bench|tests)/[\w./-]+\w", line):
            if not (ROOT / name).exists() and not any(ROOT.glob(name + "*")):
                problems.append(f"{path.relative_to(ROOT)}:{number}: there is no {name}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fathom", required=True)
    fathom = parser.parse_args().fathom
    problems, count = [], 0
    for path in documents() + scripts():
        count += check_commands(fathom, path, problems)
    for path in documents():
        check_paths(path, problems)
    for path in scripts():
        if subprocess.run(["sh", "-n", path], check=False).returncode != 0:
            problems.append(f"{path.relative_to(ROOT)}: does not parse")
    if count < 20:
        problems.append(f"only {count} commands were found: has the way in which they are shown changed?")
    for problem in problems:
        print(problem)
    print(f"{count} commands held to --help, {len(problems)} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
