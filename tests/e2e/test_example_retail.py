"""script/example-retail on a small file of the same columns: the numbers are those of pandas."""
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd

from tutti_process import ROOT, binary


def run(*args: object, code: int = 0, **env: str) -> str:
    done = subprocess.run([str(ROOT / "script" / "example-retail"), *map(str, args)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, "TUTTI_BIN": str(binary()), **env})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def passed(frame: pd.DataFrame) -> list:
    """Visitors that pass each step: the earliest event of its kind later than the step before."""
    last = pd.Series(-1, index=frame.visitorid.unique())
    counts = []
    for step in ("view", "addtocart", "transaction"):
        own = frame[(frame.event == step) & frame.visitorid.isin(last.index)]
        last = own[own.timestamp > own.visitorid.map(last)].groupby("visitorid").timestamp.min()
        counts.append(len(last))
    return counts


def test_the_retail_example(tmp_path: Path) -> None:
    rng, n = np.random.default_rng(5), 6000
    frame = pd.DataFrame({"timestamp": 1433221332117 + rng.integers(0, 10 ** 6, n), "visitorid": rng.integers(0, 900, n),
                          "event": rng.choice(["view", "addtocart", "transaction"], n, p=[.9, .07, .03]), "itemid": rng.integers(0, 500, n)})
    frame["transactionid"] = pd.array(np.where(frame.event == "transaction", rng.integers(0, 10 ** 4, n), -1), dtype="Int64")
    frame.loc[frame.transactionid == -1, "transactionid"] = pd.NA
    frame.to_csv(tmp_path / "events.csv", index=False)
    shown = run(tmp_path / "events.csv", tmp_path / "kept", RETAIL_TARGET_SIZE="10kB")
    assert [int(groups.replace(",", "")) for groups in re.findall(r"^ +\d  [█·]+ +([\d,]+) ", shown, re.M)] == passed(frame)
    carts, bought = frame[frame.event == "addtocart"].visitorid.value_counts(), set(frame[frame.event == "transaction"].visitorid)
    wanted = [v for v in carts[carts >= 3].index if v not in bought]
    assert "\n%d groups match" % len(wanted) in shown
    assert len(list((tmp_path / "kept" / "retail").iterdir())) > 1
    assert "retail is there already" in run(tmp_path / "events.csv", tmp_path / "kept", code=1)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert "not with timestamp,visitorid" in run(tmp_path / "other.csv", code=1)
    header = "timestamp,visitorid,event,itemid,transactionid\n"
    for text, why in (("", "is empty"), (header, "has a header and no events"), (header + "x,1,view,2,\n", "`x` is no int"), (None, "there is no file")):
        (tmp_path / "other.csv").unlink(missing_ok=True)
        if text is not None:
            (tmp_path / "other.csv").write_text(text)
        assert why in run(tmp_path / "other.csv", code=2 if "int" in why else 1)
