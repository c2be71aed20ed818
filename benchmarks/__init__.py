"""What was measured, a folder a question; `python -m benchmarks.FOLDER.NAME`."""
