"""Holds drawn pictures, and makes the canvas and the colours that all of them share.

They are drawn with matplotlib's objects and not with pyplot, whose state the whole process shares.
"""

from __future__ import annotations

import dataclasses
import io
import re
from typing import TYPE_CHECKING

from tfcompress.plain_text import spell_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's blue and vermilion: told apart by colour-blind eyes, on white and on black.
COLOURS = {"baseline": "#3a8fd0", "compressed": "#d55e00"}
# Their green, purple and orange, for further files of the compressed network.
_MORE_COLOURS = ("#009e73", "#cc79a7", "#e69f00")
# A grey with about the same contrast on white and on a dark page, for files of their own. In HTML
# it gives way to the page's text colour.
INK = "#7b7f85"
# Inches. At a phone's width a point is then about a pixel, so that 12 points stay readable.
WIDTH = 4.8


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Attributes:
        name: the file's name without its ending.
        alt: what it shows, in words.
        svg: the SVG document.
        png: the same picture as PNG, with a transparent background.
    """

    name: str
    alt: str
    svg: str
    png: bytes

    def inline(self) -> str:
        """Returns the `<svg>` element for an HTML page: its own ids, the page's text colour."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        # Ids are the page's, not the picture's: two pictures' clip paths may be named alike.
        svg = re.sub(r'\bid="', f'id="{self.name}-', svg)
        svg = re.sub(r"url\(#", f"url(#{self.name}-", svg)
        svg = re.sub(r'href="#', f'href="#{self.name}-', svg)
        svg = svg.replace(INK, "currentColor")
        # Width and height in points would fix the size; the viewBox alone lets the page decide.
        opening = re.sub(r' (width|height)="[^"]*"', "", svg[: svg.index(">")])
        return opening + ' aria-hidden="true"' + svg[svg.index(">") :]


def file_colours(count: int) -> list[str]:
    """Returns the baseline's colour and those of `count` compressed files."""
    more = (_MORE_COLOURS[at % len(_MORE_COLOURS)] for at in range(count - 1))
    return [*COLOURS.values(), *more][: count + 1]


def canvas(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Makes a figure with `count` axes, one below the other, in our ink on no background."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Inches between one group's bars and the next one's title.
    layout = ConstrainedLayoutEngine(h_pad=0.08)
    with matplotlib.rc_context({"font.size": 12}):
        figure = Figure(figsize=(WIDTH, height), layout=layout, facecolor="none")
        axes = [figure.add_subplot(count, 1, number + 1) for number in range(count)]
    for place in axes:
        place.set_facecolor("none")
        place.tick_params(colors=INK, labelsize=12)
        place.xaxis.label.set(color=INK, fontsize=12)
        place.yaxis.label.set(color=INK, fontsize=12)
        for side, spine in place.spines.items():
            spine.set_color(INK)
            spine.set_visible(side in ("left", "bottom"))
    return figure, axes


def render_figure(name: str, alt: str, figure: Figure) -> Picture:
    """Turns a figure into a picture, into the same bytes for the same numbers."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    _spell_out_texts(figure)
    settings = {
        "font.size": 12,
        # Text stays text: it can be searched, and takes the page's font.
        "svg.fonttype": "none",
        # Ids and clip paths are drawn from this and not from chance.
        "svg.hashsalt": f"tfcompress-{name}",
    }
    with matplotlib.rc_context(settings):
        vector, pixels = io.BytesIO(), io.BytesIO()
        FigureCanvasSVG(figure).print_svg(
            vector, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
        figure.set_dpi(200)
        FigureCanvasAgg(figure).print_png(pixels, metadata={"Software": None})
    return Picture(name, spell_out(alt), vector.getvalue().decode(), pixels.getvalue())


def _spell_out_texts(figure: Figure) -> None:
    """Makes all texts of a figure such as an SVG can hold, for names may be a stranger's.

    The labels of ticks come only as the picture is drawn: who sets them calls `spell_out`.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(spell_out(text.get_text()))
