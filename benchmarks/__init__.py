"""This package against nilearn: the same work, the same server, the same files.

    python -m benchmarks [--only PATTERN] [--skip PATTERN] [--output FOLDER]

Run it from a checkout. Each case of the table is done by this package and by nilearn
in turns, each time in a fresh process in which nothing but the call itself is timed;
medians are compared, and the values that came out as well. Seconds depend on the
machine: trust the ratios, and see how far the machine's own limit is.
"""
