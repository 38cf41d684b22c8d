"""8-bit weights, ranges found as the file runs; what such techniques share: test_quantise.py."""

from tests.techniques.counts import PLAIN
from tfcompress import techniques

PARAMETERS = PLAIN


def test_what_the_report_says_and_how_it_is_stored(small):
    technique = techniques.get("dynamic")
    candidate = technique.transform(techniques.Candidate(small()), technique.make_options())
    reasons = {line.reason for line in candidate.layers if line.action == "quantised"}
    assert reasons == {"int8 weights, one scale a filter; activations rounded as the file runs"}
    assert technique.storage == "dynamic"
