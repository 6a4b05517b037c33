"""`python -m persona_bench`, for launchers that start modules."""

from persona_bench_autoload import main

main()
