"""From MR volumes of a subject to another contrast, thinner slices, or both."""
