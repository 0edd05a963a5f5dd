"""Pictures out: grids, films, plots, the HTML report."""
