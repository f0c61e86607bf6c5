"""The proof that one model is worth it: a generalist against a specialist for each of its tasks, as tasks are added,
and against published figures.

python -m benchmarks.generalist --budget 240     # minutes for all of it; killed at any moment, the same line goes on
python -m benchmarks.generalist --report         # writes benchmarks/generalist.md and its picture of what is there
python -m benchmarks.generalist --list           # tasks, probes and published figures
python -m benchmarks.generalist --state benchmarks/generalist/found --report   # the page again, of the lines it was of
"""
