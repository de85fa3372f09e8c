"""A cine run -> the same run at any finer set of times."""
