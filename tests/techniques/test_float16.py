"""16-bit float weights; what such techniques share: test_quantise.py."""

from tests.techniques.counts import PLAIN
from tfcompress import techniques

PARAMETERS = PLAIN


def test_what_the_report_says_and_how_it_is_stored(small):
    technique = techniques.get("float16")
    candidate = technique.transform(techniques.Candidate(small()), technique.make_options())
    reasons = {line.reason for line in candidate.layers if line.action == "quantised"}
    assert reasons == {"float16 weights, expanded to float32 when the file is loaded"}
    assert technique.storage == "float16"
