"""How right the label is that is handed out: ``python -m benchmarks.quality.accuracy [--seeds N] [--peers PYTHON]``.

Ordinary runs through the command line, on real pairs and on three simulated shifts between technologies: accuracy and
macro-F1 over the query's scored cells for scANVI, each other classifier, the consensus and, with ``--peers`` (see
``benchmarks.quality.peers``), CellTypist and SingleR; calibration error on the query; the alarm; seconds.

``--swapped`` takes each pair the other way round. Structure and constants of the panel were chosen on pairs of one
direction and judged on the others.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

from benchmarks.pairs import REAL, SHARED, Pair, real_pairs, score_labels
from benchmarks.quality.peers import METHODS as PEERS
from benchmarks.quality.trust import SCENARIOS, run, simulated
from benchmarks.tables import keep, table
from labeltransfer.data.demo.simulate import simulate
from labeltransfer.units import counted

FAILED, SUFFICIENT = 0.75, 0.9
"""Accuracy of the handed-out label below which a run failed, and above which it went well."""
SHIFTS = tuple(scenario for scenario in SCENARIOS if scenario.name != "as the demo")


def peer(name: str, pair: Pair, python: Path, folder: Path) -> dict[str, float]:
    """Scores of CellTypist or SingleR on a pair, and its seconds."""
    target = folder / f"{name}.csv"
    sides = [str(pair.reference), pair.labels_key, str(pair.query)]
    began = time.perf_counter()
    command = [str(python), "-m", "benchmarks.quality.peers", name, *sides, str(target)]
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - began
    labels = pd.read_csv(target, index_col=0, dtype=str)["label"]
    accuracy, macro_f1 = score_labels(pair, labels)
    return {"accuracy": accuracy, "macro_f1": macro_f1, "seconds": seconds}


def main() -> None:
    """Run all, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--pairs", nargs="*", choices=list(REAL), default=list(REAL))
    parser.add_argument("--swapped", action="store_true", help="each pair the other way round")
    parser.add_argument("--simulated", action="store_true", help="three simulated shifts too")
    parser.add_argument("--peers", type=Path, help="Python that has celltypist and singler")
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    pairs = real_pairs(options.pairs, options.shared, swapped=options.swapped)
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for seed in range(options.seeds):
            asked = {name: pair.options() for name, pair in pairs.items()}
            if options.simulated:
                simulate(folder, n_reference=900, n_query=900, n_genes=1500, seed=seed)
                asked |= {scenario.name: simulated(scenario, folder, seed) for scenario in SHIFTS}
            for name, of_pair in asked.items():
                own = run(of_pair, folder, seed, options.preset)
                if options.peers and name in pairs and not seed:
                    own["peers"] = {method: peer(method, pairs[name], options.peers, folder) for method in PEERS}
                found.setdefault(name, []).append(own)
                scores = {method: round(s["accuracy"], 3) for method, s in methods_of(own).items()}
                print(name, seed, scores, own["trust"]["alarm"]["level"], flush=True)
    title = "The label that is handed out" + (", pairs swapped" if options.swapped else "")
    parts = [score_table(found, "accuracy"), score_table(found, "macro_f1"), trust_table(found), alarm_table(found)]
    about = f"Means over {counted(options.seeds, 'seed')}, preset {options.preset}; peers draw nothing and run once."
    keep(title, " ".join(["python -m benchmarks.quality.accuracy", *sys.argv[1:]]), "\n\n".join([about, *parts]))


def methods_of(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Scores on the query by method, peers included."""
    return result["trust"]["query"] | result.get("peers", {})


def score_table(found: dict[str, list[dict[str, Any]]], what: str) -> str:
    """One score by pair and method, their means last; a method without a score on some pair has no mean."""
    names = list(dict.fromkeys(name for runs in found.values() for r in runs for name in methods_of(r)))
    rows, columns = [], {name: [] for name in names}  # type: ignore[var-annotated]
    for pair, runs in found.items():
        values = []
        for name in names:
            own = [methods_of(r)[name][what] for r in runs if name in methods_of(r)]
            columns[name].append(mean(own) if own else None)
            values.append(f"{mean(own):.3f}" if own else "–")
        rows.append([pair, *values])
    means = [f"{mean(v):.3f}" if None not in v else "–" for v in columns.values()]
    title = {"accuracy": "Accuracy on scored query cells.", "macro_f1": "Macro-F1 on scored query cells."}[what]
    return f"{title}\n\n" + table(["pair", *names], [*rows, ["**mean**", *means]])


def trust_table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Calibration error on the query, what the alarm says, and seconds."""
    rows = []
    for pair, runs in found.items():
        before, after = (mean(r[f"ece_{when}"] for r in runs) for when in ("before", "after"))
        levels = ", ".join(r["trust"]["alarm"]["level"] for r in runs)
        panel = mean(r["seconds"]["opinions"] for r in runs)
        rest = mean(sum(r["seconds"].values()) for r in runs) - panel
        differ = mean(r["trust"]["alarm"]["disagreement"] for r in runs)
        rows.append([pair, f"{before:.3f}", f"{after:.3f}", f"{differ:.2f}", levels, f"{panel:.1f}", f"{rest:.1f}"])
    ece = mean(mean(r["ece_after"] for r in runs) for runs in found.values())
    header = ["pair", "calibration error on the query before", "after", "disagreement", "alarm, by seed"]
    header += ["classifiers, s", "all else, s"]
    return f"Trust. The calibration error is {ece:.3f} on average.\n\n" + table(header, rows)


def alarm_table(found: dict[str, list[dict[str, Any]]]) -> str:
    """How often the alarm was raised, by how right the handed-out label was."""
    runs = [r["trust"] for own in found.values() for r in own]
    rows = []
    for words, low, high in (
        (f"above {SUFFICIENT}", SUFFICIENT, 2),
        (f"{FAILED} to {SUFFICIENT}", FAILED, SUFFICIENT),
        (f"below {FAILED}", -1, FAILED),
    ):
        some = [t for t in runs if low < t["query"][t["answer"]]["accuracy"] <= high]
        rows.append(
            [words, len(some), *(sum(t["alarm"]["level"] == level for t in some) for level in ("ok", "doubt", "alarm"))]
        )
    return table(["accuracy of the handed-out label", "runs", "ok", "doubt", "alarm"], rows)


if __name__ == "__main__":
    main()
