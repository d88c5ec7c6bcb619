"""Every row of the scenarios that concerns two replicas is in a test_rows_*_par.py, once."""

import glob
import importlib
import os

WANTED = set(range(1, 113)) - {19} | set(range(126, 138)) | {144}  # 19 is about IMAP


def test_every_row_is_there():
    names = glob.glob(os.path.join(os.path.dirname(__file__), "test_rows_*_par.py"))
    rows = [r for name in names for r in importlib.import_module(os.path.basename(name)[:-3]).ROWS.rows]
    numbers = {int("".join(c for c in r.number if c.isdigit())) for r in rows}
    assert numbers == WANTED
    assert len({(r.number, r.sentence) for r in rows}) == len(rows)
