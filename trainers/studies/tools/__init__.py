"""What several studies need: data, networks, curvature, and how figures look."""
