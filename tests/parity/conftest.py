"""Parity tests use what the end-to-end tests have, and end with a table of what was seen."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def pytest_terminal_summary(terminalreporter):
    told = [
        value
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in getattr(report, "user_properties", [])
        if name == "seen"
    ]
    if told:
        terminalreporter.section("side by side")
    for line in sorted(set(told)):
        terminalreporter.write_line(line)
