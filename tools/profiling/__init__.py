"""Timings side by side: workloads, cases in turns, other libraries, tables, pictures."""
