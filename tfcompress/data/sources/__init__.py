"""Sources of data sets, one a file; each file ends in one `SOURCE` value."""
