"""What `tfcompress.run` does: a run's plan, its stages, its results, its folder."""
