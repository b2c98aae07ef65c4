"""Users that submit without pause, and what they were told."""

import threading

from region import Failed

SUBMITTERS = 3


class Load:
    """Submits from entering to leaving the context; settle() holds what was told against what
    happened."""

    def __init__(self, region):
        self.region = region
        self.told = {}  # job: name
        self.lock = threading.Lock()
        self.end = threading.Event()
        self.threads = [threading.Thread(target=self.submit, args=(n,)) for n in range(SUBMITTERS)]
        (region.folder / "runs").mkdir()

    def submit(self, number):
        count = 0
        while not self.end.is_set():
            name = f"load-{number}-{count}"
            count += 1
            try:
                job = self.region.submit(f"echo x >>{self.region.folder}/runs/{name}", name,
                                         resources={"cpu": 0.01, "memory": "1 MiB"})
            except Failed:
                continue  # not acknowledged: it may have been accepted or not
            with self.lock:
                self.told[job] = name

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        for thread in self.threads:
            thread.join()

    def runs(self, name):
        path = self.region.folder / "runs" / name
        return len(path.read_text().splitlines()) if path.exists() else 0

    def settle(self):
        """Every job acknowledged is known and ran once; no other ran more often."""
        for job, name in self.told.items():
            state = self.region.wait_state(job, "succeeded", "failed")["state"]
            if state != "succeeded" or self.runs(name) != 1:
                raise Failed(f"{name}, job {job}: {state}, ran {self.runs(name)} times")
        for path in (self.region.folder / "runs").iterdir():
            if self.runs(path.name) != 1:
                raise Failed(f"{path.name}: not acknowledged, ran {self.runs(path.name)} times")
