"""A run, or two side by side, as one page that needs nothing else: report.html."""
