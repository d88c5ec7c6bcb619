#!/usr/bin/env python3
"""summary.py [--json-lines] LOG: what Meson's JSON log of a test run says.

Without an option: first what failed and why something was skipped, and as the
last line `N passed, N failed[, N skipped]`. Counted are cases: the functions of
a cmocka program or a pytest file where its output tells them, else the program
as one. A program that fails counts at least once. Exit 1 if anything failed or
if nothing was run.

With --json-lines: every line of the programs' output that is a JSON object.
"""

import json
import re
import sys

PYTEST = re.compile(r"^(?=.*\bin [0-9.]+s)(.*)$", re.M)
PYTEST_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)")
CMOCKA = re.compile(r"^\[  (PASSED|FAILED|SKIPPED) *\] .*?(\d+) test\(s\)", re.M)
REASON = re.compile(r"^(?:SKIPPED \[\d+\] .*|skipped: .*)$", re.M)
GOOD = ("OK", "EXPECTEDFAIL")


def cases(test):
    """(passed, failed, skipped) of one program."""
    out = test.get("stdout", "") + "\n" + test.get("stderr", "")
    count = {"passed": 0, "failed": 0, "skipped": 0}
    result = test["result"]
    if result in ("SKIP", "IGNORED"):
        return 0, 0, 1
    last = [m.group(1) for m in PYTEST.finditer(out) if PYTEST_COUNT.search(m.group(1))]
    if last:
        for number, word in PYTEST_COUNT.findall(last[-1]):
            word = {"error": "failed", "errors": "failed", "xfailed": "skipped", "xpassed": "passed"}.get(word, word)
            count[word] += int(number)
    else:
        for word, number in CMOCKA.findall(out):
            count[word.lower()] += int(number)
    if result not in GOOD:
        count["failed"] = max(count["failed"], 1)
    elif not any(count.values()):
        count["passed"] = 1
    return count["passed"], count["failed"], count["skipped"]


def main():
    json_lines = sys.argv[1] == "--json-lines"
    tests = [json.loads(line) for line in open(sys.argv[-1], encoding="utf-8", errors="replace")]
    if json_lines:
        for test in tests:
            for line in test.get("stdout", "").splitlines():
                try:
                    if isinstance(json.loads(line), dict):
                        print(line)
                except ValueError:
                    pass
        return

    passed = failed = skipped = 0
    for test in tests:
        good, bad, skip = cases(test)
        passed, failed, skipped = passed + good, failed + bad, skipped + skip
        out = test.get("stdout", "") + "\n" + test.get("stderr", "")
        if bad:
            print(f"\n===== {test['name']}: {test['result']}")
            print("\n".join(out.strip().splitlines()[-60:]))
        if skip:
            for reason in REASON.findall(out) or ["without a reason"]:
                print(f"{test['name']}: {reason}")
    line = f"{passed} passed, {failed} failed"
    print(line + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
