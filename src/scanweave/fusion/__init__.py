"""Two cameras at one scene, a sharp but slow and a coarse but fast one: their calibration, and one run of both."""
