"""Who computes a cell: file locks that hold, a clock that all hosts share, and hosts that began the same cell."""
