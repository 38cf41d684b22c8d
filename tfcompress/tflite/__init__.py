"""The `.tflite` file format: reads, edits and joins files without running them."""
