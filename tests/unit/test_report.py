"""The report of a campaign whose cells were partly not run: no figure, no verdict, no crash."""

import io
import pathlib
import sys
import unittest
from contextlib import redirect_stdout

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "bench"))
import report  # pylint: disable=wrong-import-position

NOT_RUN = {"name": "500km", "kind": "block", "mode": "paced", "rtt_ms_asked": 5.0, "why": "left out"}


def side(rate):
    return {"tokens_per_s": rate, "rtt_load_ms": 2.6}


def measured(loss):
    return {"name": "240km", "kind": "block", "mode": "paced", "rtt_ms_asked": 2.4,
            "a": side(100.0), "b": side(100.0 - loss), "theory_percent": 2.0, "blocks_run": 2,
            "blocks_void": 0, "loss_percent": {"mean": loss, "low": loss - 0.1, "high": loss + 0.1},
            "blocks": [{"at_s": 1.0, "site": "single", "void": [], "answer": {"tokens_per_s": 100.0}},
                       {"at_s": 2.0, "site": "cross", "void": [], "answer": {"tokens_per_s": 98.0}}]}


def result(row, cells):
    accelerator = {"layers_held": 27, "hidden": 8192, "bytes_per_s": 2e12, "context": 995,
                   "bytes_efficiency": 0.8, "slots": 307}
    return {"namespaces": True, "shortened": False, "rows": [row], "jobs": {},
            "sites": {"pairs": []},
            "campaign": {"cells": cells, "budget": {"percent": 5.0}, "commit": "x", "seed": 1,
                         "seconds": 1.0, "ring": {"accelerator": accelerator},
                         "host": {"cpu_model": "c", "cores": 2, "kernel": "k"}}}


def row(**changes):
    base = {"name": "loss.240km.percent", "value": 2.2, "unit": "%", "bar": 5.0, "min": 2.1,
            "max": 2.3, "runs": 10, "holds": True, "beside": []}
    return {**base, **changes}


class Report(unittest.TestCase):
    def texts(self, made):
        out = io.StringIO()
        with redirect_stdout(out):
            report.print_table(made)
        return out.getvalue(), report.page(made)

    def test_cells_not_run(self):
        empty = row(value=None, min=None, max=None, holds=None, why="left out")
        for text in self.texts(result(empty, [NOT_RUN])):
            self.assertIn("left out", text)
            self.assertNotIn("Within the budget", text)

    def test_verdicts(self):
        cells = [measured(2.2), NOT_RUN]
        for text in self.texts(result(row(), cells)):
            self.assertIn("Within the budget", text)
        for text in self.texts(result(row(max=5.1), cells)):
            self.assertIn("Over the budget", text)
        for text in self.texts(result(row(holds=None, why="few pairs"), cells)):
            self.assertIn("No claim: few pairs", text)
            self.assertNotIn("Within the budget", text)


unittest.main()
