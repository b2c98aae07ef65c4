#!/usr/bin/env python3
"""
The emulation of a power cut, on small programs that end themselves by SIGKILL: what was synced stays,
what was not is undone, and a seed keeps parts of it by whole sectors.

Usage: test_powercut.py LIBRARY
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import powercut  # noqa: E402

PRELUDE = """
import os, signal
def put(name, data, at=0, sync=False):
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(fd, data, at)
    if sync:
        os.fdatasync(fd)
    os.close(fd)
def sync_folder():
    fd = os.open('.', os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
"""
LIBRARY = ""


class PowerCut(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="powercut-")
        self.folder = os.path.join(self.top, "folder")
        self.log = os.path.join(self.top, "log")
        os.mkdir(self.folder)
        self.addCleanup(shutil.rmtree, self.top)

    def run_killed(self, program):
        env = powercut.environment(LIBRARY, self.folder, self.log)
        result = subprocess.run(
            [sys.executable, "-c", PRELUDE + program + "\nos.kill(os.getpid(), signal.SIGKILL)"],
            cwd=self.folder, env=env, check=False)
        self.assertEqual(result.returncode, -signal.SIGKILL)

    def read(self, name):
        try:
            with open(os.path.join(self.folder, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def after(self, program, seed=None):
        self.run_killed(program)
        return powercut.cut(self.folder, self.log, seed)

    def test_synced_writes_stay(self):
        undone, _ = self.after("put('a', b'one', 0, True); sync_folder(); put('a', b'two', 3)")
        self.assertEqual(undone, 1)
        self.assertEqual(self.read("a"), b"one")
        self.after("put('a', b'two', 3); put('a', b'X', 0); put('a', b'three', 6, True)")
        self.assertEqual(self.read("a"), b"Xnetwothree")
        self.assertEqual(self.after("put('a', b'Y'); put('a', b'Z'); put('a', b'far', 9000)")[0], 3)
        self.assertEqual(self.read("a"), b"Xnetwothree")

    def test_names_wait_for_their_folder(self):
        self.after("put('a', b'one', 0, True)")
        self.assertIsNone(self.read("a"))
        self.after("put('a', b'one', 0, True); sync_folder(); os.unlink('a')")
        self.assertEqual(self.read("a"), b"one")
        self.after("put('b', b'two', 0, True); os.rename('b', 'a')")
        self.assertEqual((self.read("a"), self.read("b")), (b"one", None))
        self.after("put('b', b'two', 0, True); os.rename('b', 'a'); sync_folder()")
        self.assertEqual((self.read("a"), self.read("b")), (b"two", None))
        self.after("os.link('a', 'c'); os.mkdir('d'); put('d/e', b'in it', 0, True)")
        self.assertEqual(sorted(os.listdir(self.folder)), ["a"])
        # Synced contents of a name that was not: the name still goes.
        self.after("os.mkdir('d'); sync_folder(); put('d/e', b'in it', 0, True)")
        self.assertEqual(os.listdir(os.path.join(self.folder, "d")), [])

    def test_sizes(self):
        self.after("put('a', b'x' * 5000, 0, True); sync_folder(); os.truncate('a', 10)")
        self.assertEqual(self.read("a"), b"x" * 5000)
        self.after("fd = os.open('a', os.O_RDWR | os.O_TRUNC); os.write(fd, b'new')")
        self.assertEqual(self.read("a"), b"x" * 5000)
        self.after("fd = os.open('a', os.O_RDWR); os.ftruncate(fd, 3); os.posix_fallocate(fd, 0, 99);"
                   "os.write(fd, b'ab'); os.write(fd, b'c')")
        self.assertEqual(self.read("a"), b"x" * 5000)
        self.after("fd = os.open('a', os.O_RDWR | os.O_APPEND); os.ftruncate(fd, 3); os.fsync(fd);"
                   "os.write(fd, b'y')")
        self.assertEqual(self.read("a"), b"xxx")

    def test_children_count(self):
        self.after("put('a', b'one', 0, True); sync_folder(); pid = os.fork()\n"
                   "if pid == 0:\n    put('a', b'two'); os._exit(0)\nos.waitpid(pid, 0)")
        self.assertEqual(self.read("a"), b"one")

    def test_other_folders_do_not(self):
        other = os.path.join(self.top, "other")
        self.assertEqual(self.after(f"put({other!r}, b'one')"), (0, 0))
        with open(other, "rb") as file:
            self.assertEqual(file.read(), b"one")

    def test_a_lie_is_no_sync(self):
        os.environ["POWERCUT_LIE"] = "1"
        self.addCleanup(os.environ.pop, "POWERCUT_LIE")
        self.after("put('a', b'one', 0, True); sync_folder()")
        self.assertEqual(self.read("a"), b"")

    def test_a_seed_keeps_parts(self):
        seen = set()
        for seed in range(60):
            name = f"f{seed}"
            # One run of the program serves all seeds: only the cut differs.
            if seed == 0:
                self.run_killed("put('f', b'o' * 2048, 0, True); sync_folder();"
                                "put('f', b'1' * 1024, 512); put('f', b'2' * 2048, 1024)")
                keep = os.path.join(self.top, "keep")
                os.mkdir(keep)
            folder = os.path.join(keep, name)
            shutil.copytree(self.folder, folder)
            shutil.copytree(self.log, folder + ".log")
            inode = os.stat(os.path.join(self.folder, "f")).st_ino
            os.rename(os.path.join(folder + ".log", f"writes-{inode}"),
                      os.path.join(folder + ".log",
                                   f"writes-{os.stat(os.path.join(folder, 'f')).st_ino}"))
            powercut.cut(folder, folder + ".log", seed)
            with open(os.path.join(folder, "f"), "rb") as file:
                data = file.read()
            self.assertIn(len(data), (2048, 3072))
            sectors = [data[at:at + 512] for at in range(0, len(data), 512)]
            may = ["o", "o1", "o12", "o2", "2\0", "2\0"]
            for sector, allowed in zip(sectors, may):
                self.assertIn(sector, [c.encode() * 512 for c in allowed])
            seen.add(data)
        self.assertGreater(len(seen), 10)

    def test_a_seed_says_always_the_same(self):
        states = []
        for _ in range(2):
            self.run_killed("put('a', b'o' * 4096, 0, True); sync_folder();"
                            "put('a', b'1' * 4096); put('a', b'2' * 2048, 1024)")
            powercut.cut(self.folder, self.log, 11)
            states.append(self.read("a"))
            os.unlink(os.path.join(self.folder, "a"))
        self.assertEqual(states[0], states[1])


if __name__ == "__main__":
    LIBRARY = os.path.abspath(sys.argv.pop())
    unittest.main()
