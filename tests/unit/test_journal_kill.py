#!/usr/bin/env python3
"""
A program that keeps a journal is killed at arbitrary points, with and without a power cut after it.
Opened again, the journal holds all that was said to last, and is a true beginning of what was appended
(journal_writer checks that); the next life goes on with it. And the check can fail: with a disk that
lies about its syncs, losses are found.

Usage: test_journal_kill.py JOURNAL_WRITER POWERCUT_LIBRARY
"""
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import powercut  # noqa: E402

WRITER = LIBRARY = ""
SEED = int(os.environ.get("GODWIT_SEED", "1"))
LIVES = int(os.environ.get("GODWIT_LIVES", "12"))


class Kill(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="journal-")
        self.folder = os.path.join(self.top, "state")
        self.journal = os.path.join(self.folder, "journal")
        self.log = os.path.join(self.top, "log")
        os.mkdir(self.folder)
        self.chance = random.Random(SEED)
        self.addCleanup(shutil.rmtree, self.top)

    def live(self, env, *options, least=0):
        """One life; the last sequence that it said to last, 0: none."""
        lines = self.chance.randint(least, 60)
        with subprocess.Popen([WRITER, "write", self.journal, *options], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            first = b"".join(process.stdout.readline() for _ in range(lines))
            process.kill()
            rest, errors = process.communicate()
            said = first + rest
        self.assertEqual(process.returncode, -9, (said, errors))
        whole = said[:said.rfind(b"\n") + 1].split()
        return int(whole[-1]) if whole else 0

    def check(self):
        """What the next start finds: (last sequence, snapshot's, bytes cut), or the refusal."""
        result = subprocess.run([WRITER, "check", self.journal], check=False, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        match = re.fullmatch(r"last (\d+) snapshot (\d+) cut (\d+)\n", result.stdout)
        return tuple(map(int, match.groups())) if match else result.stdout

    def lives(self, env, *options, power=False):
        lasting, snapshots, undone = 0, set(), 0
        for number in range(LIVES):
            lasting = max(lasting, self.live(env, *options))
            if power:  # the first few lose all that was not synced
                undone += powercut.cut(self.folder, self.log,
                                       self.chance.randrange(1 << 30) if number > 3 else None)[0]
            found = self.check()
            self.assertIsInstance(found, tuple, f"seed {SEED}, life {number}: {found}")
            self.assertGreaterEqual(found[0], lasting, f"seed {SEED}, life {number}")
            lasting = found[0]
            snapshots.add(found[1])
        self.assertGreater(lasting, 0)
        self.assertGreater(len(snapshots), 1, "no life made a snapshot")
        return undone

    def test_kill(self):
        self.lives(None)

    def test_kill_plain(self):
        self.lives(None, "plain")

    def test_power_cut(self):
        env = powercut.environment(LIBRARY, self.folder, self.log)
        self.assertGreater(self.lives(env, power=True), 0)

    def test_a_lying_disk_is_found_out(self):
        env = powercut.environment(LIBRARY, self.folder, self.log)
        env["POWERCUT_LIE"] = "1"
        for _ in range(4):
            said = self.live(env, least=1)
            powercut.cut(self.folder, self.log)
            found = self.check()
            self.assertTrue(isinstance(found, str) or found[0] < said, (said, found))
            shutil.rmtree(self.journal, ignore_errors=True)


if __name__ == "__main__":
    LIBRARY = os.path.abspath(sys.argv.pop())
    WRITER = os.path.abspath(sys.argv.pop())
    unittest.main()
