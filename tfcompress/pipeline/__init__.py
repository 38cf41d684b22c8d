"""A run of `tfcompress.run`: its plan, its stages, its folder."""
