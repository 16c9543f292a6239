"""A simulated town photographed from its streets; nothing in it is of any place."""
