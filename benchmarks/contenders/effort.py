"""How hard a contender must look."""

from __future__ import annotations

from clusters import Ids, recall

from contenders import Contender, Floats

BATCH = 64
RECALL = 0.95


def choose_effort(contender: Contender, queries: Floats, truth: Ids) -> float:
    """Have it look as little as finds enough, or as hard as it can; the share that it finds."""
    for effort in contender.efforts:
        contender.look(effort)
        share = found_share(contender, queries, truth)
        print(f"  effort {effort}: recall {share:.3f}", flush=True)
        if share >= RECALL:
            break
    return share


def found_share(contender: Contender, queries: Floats, truth: Ids) -> float:
    """The share of the exact ten nearest that is found."""
    client = contender.clients()[""]()
    batches = [client.search(queries[start : start + BATCH]) for start in range(0, len(queries), BATCH)]
    client.close()
    return recall([numbers for batch in batches for numbers in batch], truth)
