"""What makes an act happen once, or not at all: the billed run, its undo, repeats, uploads."""
