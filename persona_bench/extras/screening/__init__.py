"""The extremes of a large persona set from a fraction of its grid: `persona-bench screen`."""
