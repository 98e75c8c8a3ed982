"""Where training examples come from: real text, files, images, and sources of known truth."""
