"""What was measured, a folder a question; `python -m benchmarks.FOLDER.NAME`.

A file in results/ that no program here writes (finite, index, loader, ranks, start) was measured
once for docs/log.md; the commit in it has the program.
"""
