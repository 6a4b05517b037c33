"""Which judges pass the entry test? Prints the table in docs/fidelity.md; exact, in a second.

    python -m scripts.entry_test_power

A judge here knows which response of a pair is in character and scores it 5, the other 2; but each
verdict is wrong with a stated probability: the other of the two scores. A pair is then right with
probability (1 - e)^2, a tie (half a point) with 2 e (1 - e), and wrong with e^2: the expected
accuracy is 1 - e.
"""

from __future__ import annotations

import numpy as np

from persona_bench.judge.entry_test import BAR, entry_pairs

ERRORS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.50)


def share_that_passes(error: float, pairs: int, bar: float = BAR) -> float:
    """The probability that a judge with this error rate reaches the bar on so many pairs."""
    of_pair = np.array([error**2, 2 * error * (1 - error), (1 - error) ** 2])  # 0, 1/2, 1 points
    points = np.ones(1)
    for _ in range(pairs):
        points = np.convolve(points, of_pair)
    return float(points[np.arange(len(points)) / 2 >= bar * pairs - 1e-9].sum())


def main() -> None:
    """Prints one row per error rate."""
    pairs = len(entry_pairs())
    print("| verdicts wrong | accuracy | passes | of a difference left | responses needed |")
    print("|---|---|---|---|---|")
    for error in ERRORS:
        left = 1 - 2 * error
        passes = share_that_passes(error, pairs)
        said = "under 0.1%" if passes < 0.001 else f"{passes:.1%}"
        needed = f"{1 / left**2:.1f} times" if left else "no number"
        print(f"| {error:.0%} | {1 - error:.0%} | {said} | {left:.0%} | {needed} |")


if __name__ == "__main__":
    main()
