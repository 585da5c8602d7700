def ddr_figure(result): return None
