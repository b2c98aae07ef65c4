"""What users were told, held afterwards against what really happened.

`Users` submits jobs from several threads with the `godwit` program, as users do, and writes down what
each was told. Every task appends one line to a file of the host when it really runs: its job, its
index and its attempt. `verdict` compares the two once everything is at rest:

    lost      acknowledged, and the scheduler does not know the job, or it has not succeeded
    doubled   a task that ran more than once
    unasked   ran, and nobody submitted it (an answer that was lost makes a job unknown, not unasked)
"""

import collections
import json
import pathlib
import subprocess
import threading
import time

from region import Failed, wait_for

# One line for each run; O_APPEND keeps lines of tasks apart. The scheduler gives each task its
# names in the environment.
SCRIPT = 'echo "$GODWIT_JOB $GODWIT_TASK_INDEX $GODWIT_ATTEMPT $(date +%s%N)" >>{trace}; {work}'


class Users:
    def __init__(self, ctl, config, folder, threads=4, work=":", cpu=0.01, pause_s=0.0, spec=None):
        self.ctl, self.config = ctl, config
        self.trace = pathlib.Path(folder) / "trace"
        self.trace.touch()
        self.job_file = pathlib.Path(folder) / "history.yaml"
        self.job_file.write_text(json.dumps({
            "name": "history", "kind": "task",
            "command": ["sh", "-c", SCRIPT.format(trace=self.trace, work=work)],
            "resources": {"cpu": cpu, "memory": "8 MiB"}, **(spec or {})}), encoding="utf-8")
        self.pause_s = pause_s
        self.told = []  # (asked, answered, job or None, words)
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.submit_on) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def submit_on(self):
        while not self.ending.is_set():
            self.submit()
            self.ending.wait(self.pause_s)

    def submit(self, timeout="20 s"):
        """One submission by the user's program; the job's id, or None."""
        asked = time.monotonic()
        done = subprocess.run([str(self.ctl), "submit", "--config", str(self.config), "--json",
                               "--timeout", timeout, str(self.job_file)],
                              text=True, capture_output=True, check=False)
        job = json.loads(done.stdout)["job"] if done.returncode == 0 else None
        with self.lock:
            self.told.append((asked, time.monotonic(), job, done.stderr.strip()))
        return job

    def acknowledged(self):
        with self.lock:
            return [job for _, _, job, _ in self.told if job]

    def refusals(self):
        with self.lock:
            return collections.Counter(words.splitlines()[-1] if words else "no words"
                                       for _, _, job, words in self.told if not job)

    def runs(self):
        """How often each (job, task, attempt) ran, from the hosts' own file."""
        lines = self.trace.read_text(encoding="ascii").splitlines()
        return collections.Counter(tuple(line.split()[:3]) for line in lines)


def all_jobs(godwit):
    """Every job that the scheduler knows {id: info}."""
    return {job["job"]: job for job in godwit("jobs")}


def at_rest(godwit):
    return all(job["state"] not in ("waiting", "running", "ending")
               for job in all_jobs(godwit).values())


def verdict(users, jobs, keepers_died=False):
    """What is wrong, as lists of job ids. A task that died with its keeper is tried again: where
    that was done to it, only one attempt that ran twice is called doubled."""
    attempts = users.runs()
    runs = collections.Counter()
    for (job, task, _), count in attempts.items():
        runs[job, task] += count
    lost = [job for job in users.acknowledged()
            if job not in jobs or jobs[job]["state"] != "succeeded"]
    doubled = [" ".join(run) for run, count in (attempts if keepers_died else runs).items()
               if count > 1]
    ran = {job for job, _ in runs}
    silent = [job for job, info in jobs.items()
              if info["state"] == "succeeded" and job not in ran]
    return {"lost": lost, "doubled": doubled, "unasked": sorted(ran - set(jobs)),
            "never ran": silent}


def settle(users, region, seconds=120):
    """Waits until all jobs have ended; Failed if the history does not hold."""
    wait_for("all jobs to end", lambda: at_rest(region.godwit), seconds)
    wrong = {what: jobs for what, jobs in verdict(users, all_jobs(region.godwit)).items() if jobs}
    if wrong:
        raise Failed(f"of {len(users.acknowledged())} jobs acknowledged: {wrong}")
