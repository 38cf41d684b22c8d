from tfcompress.config import RunConfig
from tfcompress.pipeline import provenance


def test_command_repeats_the_run():
    settings = RunConfig(
        technique="bwn", epochs=3, options={"width": "2"}, tensorboard=True, output_dir="my runs"
    )
    assert provenance.command(settings) == (
        "python -m tfcompress.run --technique=bwn --epochs=3 '--output_dir=my runs' --tensorboard "
        "--set width=2"
    )


def test_versions_of_what_a_result_depends_on():
    found = provenance.versions()
    assert {"tfcompress", "python", "keras", "tensorflow", "ai-edge-litert"} <= set(found)
    assert all(value[0].isdigit() for value in found.values())
