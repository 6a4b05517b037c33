"""Where the variance of verdicts lies, and the published contrasts: a section of a score."""
