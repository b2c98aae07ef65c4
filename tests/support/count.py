"""Reads meson's testlog.json; prints 'passed failed skipped' and, on stderr, each skip's reason."""

import json
import sys

passed = failed = skipped = 0
with open(sys.argv[1], encoding="utf-8") as log:
    for line in log:
        test = json.loads(line)
        if test["result"] in ("OK", "EXPECTEDFAIL"):
            passed += 1
        elif test["result"] == "SKIP":
            skipped += 1
            reason = (test.get("stdout", "") + test.get("stderr", "")).strip().splitlines()
            print(f"skipped {test['name']}: {reason[-1] if reason else 'no reason given'}",
                  file=sys.stderr)
        else:
            failed += 1
            print(f"failed {test['name']}: {test['result']}", file=sys.stderr)
print(passed, failed, skipped)
