"""Ground truth from nothing: motion, contrast, speckle, and the frames between with them."""
