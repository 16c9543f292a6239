"""Plots and the self-contained HTML page; reads run folders only."""
