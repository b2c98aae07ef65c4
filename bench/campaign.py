"""Cross-region loss of the reference inference job, as a job: submitted, placed, run, measured.

Brings up data centres, a scheduler and agents (cluster.py), submits the same pipeline once inside
one site and once across three, and lets godwit-loss measure what the distance costs.

  campaign.py --rows [--quick] [--html FILE]     for ./bench/run loss: rows on stdout
  campaign.py --demo [--html FILE] [--report FILE]  for ./bench/demo: a table for people
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import cluster
import report
from cluster import say

STAGES = 3
# The links of the chain a, b, c and each one's one-way share of the loop's delay: a token goes
# a -> b -> c -> a, and c is as far from a as b is from both together.
LINKS = "a-b=0.25,b-c=0.25,a-c=0.5"
# Room for 90 sequences beside the weights: micro-batches of 30. Larger ones come through the emulator
# in bursts of so many packets that their lateness voids the block (README, decision 5).
PACED_MODEL = " --slots 90"
# Unpaced stages need a model whose work takes about as long as the accelerator's (bench/loss D9).
REAL_MODEL = (" --hidden 256 --ffn 2048 --heads 8 --kv-heads 2 --layers 24 --window 32 --rows 128"
              " --slots 256")


def stage_spec(name, control, stages, placement, model, options=""):
    """The pipeline as a serve job. Each stage is pinned to a core of its own as far as they go.

    It asks for no share of a processor: a request is a quota, and a stage that is throttled, or kept
    from real-time priority by the quota's control group, would be measured instead of the distance.
    """
    cores = sorted(os.sched_getaffinity(0))
    pick = " ".join(str(cores[i % len(cores)]) for i in range(stages))
    stage = (f"set -- {pick}; shift $GODWIT_TASK_INDEX; "
             f"exec {cluster.STAGE} --control {control} --pin --core $1{options}")
    text = [f"name: {name}", "kind: serve", f"stages: {stages}",
            f"command: [sh, -c, '{stage}']",
            "resources: {cpu: 0, memory: 512MiB, ports: 1}", "grace: 2s", "model:"]
    text += [f"  {key}: {value}" for key, value in model.items()]
    return "\n".join(text + placement) + "\n"


IN_ONE_SITE = ["sites: [a]", "spread: node"]
ACROSS_SITES = ["spread: site"]
A_AND_C = ["sites: [a, c]", "spread: site"]


def stage_model():
    """What a stage says of itself for the planner: the accelerator that it stands for."""
    model = json.loads(cluster.run([cluster.STAGE, "--describe", STAGES, *PACED_MODEL.split()]))
    return {"stage_time": f"{model['stage_us']}us", "micro_batches": STAGES,
            "batch": model["batch"],
            "activation": f"{model['activation_bytes']}B", "loss_budget": "5 %"}


def submit_all(grid, twin, real):
    """Submits the rings and waits until all run. {name: (job info, control socket)}."""
    model = stage_model()
    wanted = [("single", STAGES, IN_ONE_SITE), ("cross", STAGES, ACROSS_SITES)]
    if twin:
        wanted.append(("cross-twin", STAGES, ACROSS_SITES))
    if real:
        wanted += [("single-real", 2, IN_ONE_SITE), ("cross-real", 2, A_AND_C)]
    jobs = {}
    for name, stages, placement in wanted:
        control = grid.folder / f"{name}.control"
        options = REAL_MODEL if name.endswith("-real") else PACED_MODEL
        answer = grid.submit(name, stage_spec(name, control, stages, placement, model, options))
        jobs[name] = (answer["job"], control)
    for name, (job, control) in jobs.items():
        info = grid.wait_running(job)
        cluster.wait_for(f"the head of {name}", control.exists)
        jobs[name] = (info, control)
        say(f"  {name}: " + ", ".join(f"stage {t['task_index']} on {t['node_name']} (site "
                                      f"{t['site']})" for t in info["tasks"]))
    return jobs


def commit():
    try:
        done = subprocess.run(["git", "-C", cluster.ROOT, "describe", "--always", "--dirty"],
                              text=True, capture_output=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def measure(grid, jobs, options):
    """Runs godwit-loss on the rings; its report and rows."""
    output, rows = grid.folder / "campaign.json", grid.folder / "rows.json"
    command = [cluster.LOSS, "--output", output, "--rows", rows, "--links", LINKS,
               "--commit", commit(), "--seed", str(options.seed)]
    for name, (_info, control) in jobs.items():
        command += [f"--{name}", control]
    command += ["--emulator", grid.emulator()] if grid.namespaces else ["--simulate"]
    if options.quick or options.demo:
        command += ["--quick", "--budget", f"{options.budget}s"]
    if options.arguments:
        command += options.arguments
    child = subprocess.Popen([str(c) for c in command], stdout=sys.stderr)
    try:
        status = child.wait()
    except BaseException:
        child.terminate()  # it would finish the block under way; nobody waits for its figures now
        try:
            child.wait(2)
        except subprocess.TimeoutExpired:
            child.kill()
        raise
    if not output.exists() or not rows.exists():
        raise cluster.Failed(f"godwit-loss ended with status {status} and no figures")
    if status != 0:
        say(f"godwit-loss ended with status {status}: what it had measured follows")
    return (json.loads(output.read_text(encoding="utf-8")),
            json.loads(rows.read_text(encoding="utf-8")))


def run(options):
    began = time.monotonic()
    namespaces = not options.no_namespaces
    while True:
        grid = cluster.Cluster(namespaces=namespaces)
        try:
            say("bringing up three data centres, a scheduler and an agent on every host")
            with grid:
                return run_on(grid, options, began)
        except cluster.NoNamespaces as reason:
            say(f"no network namespaces here: {reason}")
            say("going on over loopback: one-site figures are real, the distance is simulated and "
                "every row says so")
            namespaces = False


def run_on(grid, options, began):
    for host, (site, address) in grid.hosts.items():
        say(f"  {host}: site {site}, {address}, agent up")
    say("submitting the reference inference job, inside one site and across three")
    jobs = submit_all(grid, twin=not options.demo, real=not (options.demo or options.quick))
    sites = grid.godwit("sites", "--json")
    say(f"ready after {time.monotonic() - began:.0f} s; measuring")
    campaign, rows = measure(grid, jobs, options)
    return {"campaign": campaign, "rows": rows, "sites": sites, "namespaces": grid.namespaces,
            "jobs": {name: info for name, (info, _control) in jobs.items()},
            "shortened": bool(options.quick or options.demo),
            "seconds": time.monotonic() - began}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--html", type=pathlib.Path)
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--no-namespaces", action="store_true",
                        help="as on a host that grants no network namespaces")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=int, default=42)
    parser.add_argument("arguments", nargs="*", help="passed on to godwit-loss, after --")
    options = parser.parse_args()
    cluster.stoppable()
    try:
        result = run(options)
    except cluster.Failed as failure:
        say(f"campaign: {failure}")
        return 1
    if options.report:
        options.report.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if options.html:
        options.html.write_text(report.page(result), encoding="utf-8")
    if options.rows:
        json.dump(result["rows"], sys.stdout, indent=1)
    if options.demo:
        report.print_table(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
