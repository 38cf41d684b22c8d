"""What `benchmark_model` prints, after a report of a run on a phone."""

OUTPUT = """STARTING!
Log parameter values verbosely: [0]
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930 p5=32825 median=33801 p95=49060

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450 p5=32700 median=33150 p95=34000

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE
"""  # noqa: E501
