"""`python -m persona_bench`, for launchers that start modules."""

from persona_bench.cli import main

main()
