"""Tables for papers: Markdown, CSV and LaTeX, with intervals, n, and which test stands behind."""
