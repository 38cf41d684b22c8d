"""The lossless container `.tfz`: packs any `.tflite` file and gives it back bit by bit."""
