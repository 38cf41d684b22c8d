"""The pages in docs/: their examples run, their links lead somewhere, no layer is without one."""

import inspect
import pathlib
import re

import keras
import pytest

from tfcompress import layers

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
# A page's examples follow from one another.
EXAMPLES = [
    pytest.param(examples, id=page)
    for page, text in PAGES.items()
    if (examples := re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S))
]
GUIDES = (
    "data_sources.md",
    "deploy.md",
    "distillation.md",
    "few_bits.md",
    "inputs_and_outputs.md",
    "mlperf_tiny.md",
    "models_and_techniques.md",
    "search.md",
    "transfer_sets.md",
    "without_labels.md",
    "your_data.md",
    "your_model.md",
    "your_training.md",
)
# What led to a page that is several now.
MOVED = ("your_model_and_data.md",)
each_name = pytest.mark.parametrize("name", layers.__all__)


def page_of(name):
    """Beside its module's name, as `make docs` puts them together."""
    return f"layers/{inspect.getmodule(getattr(layers, name)).__name__.rpartition('.')[2]}.md"


@pytest.mark.parametrize("examples", EXAMPLES)
def test_examples_run(examples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    namespace = {"__name__": "example"}
    for code in examples:
        exec(compile(code, "example", "exec"), namespace)


@each_name
def test_every_layer_has_a_page(name):
    text = PAGES[page_of(name)]
    assert text.startswith(f"# {name}\n")
    assert f"from tfcompress.layers import {name}\n" in text
    assert "count_params() == " in text
    for part in ("- **Parameters:**", "- **Exported file:**", "## Limits", "## Reference"):
        assert part in text, part
    assert f"[{name}]({page_of(name)})" in PAGES["index.md"]


def test_every_page_is_a_layers_or_a_guide():
    known = {"index.md", "glossary.md", *GUIDES, *MOVED, *map(page_of, layers.__all__)}
    assert set(PAGES) == known
    html = (DOCS / "index.html.jinja2").read_text()
    for guide in GUIDES:
        assert f"]({guide})" in PAGES["index.md"], guide
        assert f'"{guide.removesuffix(".md")}"' in html, guide


TERMS = [
    "sparsity",
    "rank",
    "bit width",
    "scale, zero point",
    "representative data set",
    "straight-through estimator",
    "latent weights",
    "MACs",
    "KiB, MiB",
    "calibration",
    "fake quantization",
    "lowering",
    "storage",
    "technique",
    "chain",
    "candidate",
]


def test_the_glossary_explains_each_term_once_in_order():
    terms = re.findall(r"^- \*\*(.+?)\*\*: [A-Z0-9]", PAGES["glossary.md"], re.M)
    assert PAGES["glossary.md"].count("\n- ") == len(terms) >= 30
    assert terms == sorted(set(terms), key=str.lower)
    assert set(TERMS) <= set(terms)
    assert "(glossary.md)" in PAGES["index.md"]


@each_name
def test_every_docstring_has_an_example(name):
    doc = inspect.getdoc(getattr(layers, name))
    assert re.search(r"^Example:\n>>> ", doc, re.M)
    assert "\nReference:\n" in doc


def test_links_lead_to_files():
    found = 0
    for page, text in PAGES.items():
        for target in re.findall(r"\]\((?!https:)([^)]+)\)", text):
            path, _, heading = target.partition("#")
            path = (DOCS / page).parent / path
            assert path.exists(), (page, target)
            if heading:
                titles = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
                slugs = [re.sub(r"[^a-z0-9 -]", "", title.lower()) for title in titles]
                assert heading in [slug.replace(" ", "-") for slug in slugs], (page, target)
            found += 1
    assert found >= len(PAGES)


def test_documented_commands_name_the_python_that_make_sets_up():
    root = DOCS.parent
    pages = [root / "README.md", root / "tfcompress" / "kernels" / "README.md"]
    pages += [*DOCS.rglob("*.md"), *(root / "experiments").glob("*.*")]
    for path in pages:
        assert not re.findall(r"^ *(?:python|pip)[\d.]* [^=].*$", path.read_text(), re.M), path
