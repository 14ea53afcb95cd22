#!/usr/bin/env python3
"""The shell scripts of scripts/, as they are called on other people's machines.

    check_scripts.py

Exit code 0 if all do what they should, 1 if not.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


class Script(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="fathom-scripts-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def run_script(self, name, *arguments, path=None):
        environment = dict(os.environ, **({"PATH": str(path)} if path else {}))
        return subprocess.run(["/bin/sh", str(SCRIPTS / name), *arguments], cwd=self.folder, env=environment,
                              capture_output=True, text=True)

    def tools(self, *names, **stubs):
        """A folder for PATH: links to the system's tools, and scripts of a line."""
        folder = self.folder / "bin"
        folder.mkdir()
        for name in names:
            (folder / name).symlink_to(shutil.which(name))
        for name, line in stubs.items():
            (folder / name).write_text(f"#!/bin/sh\n{line}\n")
            (folder / name).chmod(0o755)
        return folder


class InstallPackages(Script):
    def test_without_dpkg_says_so_once_and_lets_the_build_go_on(self):
        path = self.tools("dirname", "awk", "grep", "id")
        first = self.run_script("install-packages.sh", "build", path=path)
        self.assertEqual((first.returncode, first.stdout), (0, ""), first.stderr)
        self.assertIn("no Debian system", first.stderr)
        self.assertIn("packages.txt", first.stderr)
        second = self.run_script("install-packages.sh", "test", path=path)
        self.assertEqual((second.returncode, second.stdout + second.stderr), (0, ""))


class Demo(Script):
    def setUp(self):
        super().setUp()
        # A `fathom` that makes the folder behind --out, and a perl that makes none.
        path = self.tools("dirname", "date", "mkdir", "rm", "ls", "cat", perl=":",
                          fathom='while [ $# -gt 1 ]; do [ "$1" != --out ] || mkdir -p "$2"; shift; done')
        self.path = path

    def test_keeps_a_folder_that_is_not_its_own(self):
        (self.folder / "mine").mkdir()
        (self.folder / "mine/thesis.tex").write_text("years")
        refused = self.run_script("demo.sh", "bin/fathom", str(self.folder / "mine"), path=self.path)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("none of this demo's", refused.stderr)
        self.assertTrue((self.folder / "mine/thesis.tex").exists())

    def test_takes_paths_from_where_it_was_called_and_replaces_its_own_folder(self):
        for _ in range(2):
            made = self.run_script("demo.sh", "bin/fathom", "out", path=self.path)
            self.assertEqual(made.returncode, 0, made.stderr)
            self.assertTrue((self.folder / "out/lns").is_dir())
            self.assertFalse((self.folder / "out/old").exists())
            (self.folder / "out/old").mkdir()


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False).result.wasSuccessful())
