"""Stands for the package of traiNNer-redux (68629319), which is on no package index: classes of the same shapes."""
