"""Classification networks as feature extractors, image → c1 … c5, one in each file."""
