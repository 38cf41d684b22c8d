"""What README's tables call their rows, and which rows they leave to the pages behind them."""

from techniques import rows_of

TECHNIQUE_TITLES = {
    "xnor": "`xnor`, as int8",
    "xnor, paper's recipe": "`xnor`, the 2017 study's recipe",
    "xnor, --set width=2": "`xnor --set width=2`",
    "prune": "`prune`, 80% zeros",
    "cluster": "`cluster`, 16 values",
    "hashed": "`hashed`, at 1/8",
    "channels": "`channels`, half of the MACs",
    "channels, macs_ratio=0.29": "`channels`, 0.29 of the MACs",
    "channels, latency_ratio=0.5": "`channels`, half of the latency",
    "channels+int8": "`channels+int8`, half of the MACs",
    "channels+xnor": "`channels+xnor`, half of the MACs",
    "ternary": "`ternary --storage=int2`",
    "lsq, bits=2": "`lsq --storage=int2`, 2 bits",
    "lsq, bits=4": "`lsq --storage=int4`, 4 bits",
    "lsq, bits=4, activation_bits=4": "`lsq`, inputs of 4 bits, too, as int8",
    "binaryconnect": "`binaryconnect --storage=1bit`",
    "dorefa": "`dorefa`, 4 bits, as int8",
    "pact": "`pact`, 4 bits, as int8",
    "wage": "`wage`, as int8",
    "qnn": "`qnn`, as int8",
    "xnor, activation_bits=2": "`xnor`, inputs of 2 bits, as int8",
    "pq": "`pq`",
    "mixed": "`mixed`",
    "sqnr": "`sqnr`",
}
# Of these README shows a row of each kind; the page on few bits shows all.
FURTHER_TITLES = {
    "ternary, scale=trained": "`ternary --storage=int2`, trained scale",
    "lsq, bits=3": "`lsq --storage=int4`, 3 bits",
    "lsq, bits=2, activation_bits=2": "`lsq`, inputs of 2 bits, too, as int8",
    "binaryconnect, stochastic=true": "`binaryconnect --storage=1bit`, with draws",
    "dorefa, 2 bits": "`dorefa`, 2 bits, as int8",
    "pact, weights=sawb": "`pact --set weights=sawb`, 4 bits, as int8",
}
LEFT_OUT = {
    *("dynamic", "hashed, init=scratch"),
    *(name for name in rows_of("structured") if "sparse epochs" in name),
    *(name for name in rows_of("few_bits") if name not in TECHNIQUE_TITLES),
}
TASK_TITLES = {
    "sequences": "MNIST as sequences, LSTM: accuracy, %",
    "denoising": "denoising autoencoder: PSNR, dB",
    "segmentation": "U-Net on noisy digits: mean IoU, %",
    "ages": "ages of drawn portraits: MAE, years",
    "words": "synthetic words, Conv1D: accuracy, %",
}
