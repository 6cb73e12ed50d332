"""Makes a body safe to send: Instantly strips whatever text stands outside an HTML element.

(Seen by probing the live API; the official document only says that bodies are HTML.)
"""

import re
from html import escape
from html.parser import HTMLParser

VOID = frozenset("area base br col embed hr img input link meta source wbr".split())
BLOCK = frozenset(
    "address article aside base blockquote body center dd details dialog dir div dl dt fieldset"
    " figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe"
    " legend li link main menu meta nav object ol p pre script section style summary table tbody"
    " td template tfoot th thead title tr ul".split()
)
INLINE = frozenset(
    "a abbr acronym area audio b bdi bdo big br button canvas cite code col colgroup data datalist"
    " del dfn em embed font i img input ins kbd label map mark meter noscript output picture"
    " progress q s samp select small source span strike strong sub sup svg textarea time tt u var"
    " video wbr".split()
)
ELEMENTS = BLOCK | INLINE
TAG = re.compile(r"</?([a-z][a-z0-9]*)(?=[\s/>])[^<>]*>", re.IGNORECASE)


def email_html(body: str) -> str:
    """HTML in which every text stands inside an element.

    A body without any tag is text: it is escaped, blank lines part its paragraphs, and line breaks
    stay. In HTML, a run of text and inline elements on the top level becomes a paragraph.
    """
    if any(tag.group(1).lower() in ELEMENTS for tag in TAG.finditer(body)):
        return TopLevel(body).wrapped()
    text = escape(body.replace("\r\n", "\n").replace("\r", "\n").strip("\n"), quote=False)
    paragraphs = re.split(r"\n[ \t]*(?:\n[ \t]*)+", text)
    return "".join(f"<p>{part}</p>" for part in paragraphs).replace("\n", "<br/>")


class TopLevel(HTMLParser):
    """Finds the runs of text and inline elements that no block element holds."""

    def __init__(self, body: str) -> None:
        super().__init__(convert_charrefs=False)
        self._body = body
        self._open: list[str] = []
        self._run_start = 0
        self._run_has_text = self._run_has_block = False
        self._parts: list[str] = []

    def wrapped(self) -> str:
        # All on one line: the column of a tag is its offset.
        self.feed(self._body.replace("\n", " "))
        self.close()
        self._end_run(len(self._body))
        return "".join(self._parts)

    def _end_run(self, end: int) -> None:
        run = self._body[self._run_start : end]
        # A paragraph would end where a block inside it begins.
        wrapper = "div" if self._run_has_block else "p"
        self._parts.append(f"<{wrapper}>{run}</{wrapper}>" if self._run_has_text else run)
        self._run_start = end
        self._run_has_text = self._run_has_block = False

    def _close(self, tag: str, end: int) -> None:
        while self._open.pop() != tag:
            pass
        if tag in BLOCK and not self._open:
            self._end_run(end)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        _, start = self.getpos()
        if tag in BLOCK:
            if "p" in self._open:
                # A block ends the paragraph before it, closed or not.
                self._close("p", start)
            if self._open:
                self._run_has_block = True
            else:
                self._end_run(start)
        if tag not in VOID:
            self._open.append(tag)
        elif tag in BLOCK and not self._open:
            self._end_run(start + len(self.get_starttag_text() or ""))

    def handle_endtag(self, tag: str) -> None:
        _, start = self.getpos()
        end = self._body.find(">", start) + 1 or len(self._body)
        if tag in self._open:
            self._close(tag, end)
        elif tag in BLOCK and not self._open:
            # It closes nothing here, but inside a wrapper it would close that.
            self._end_run(start)
            self._end_run(end)

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._open:
            self._run_has_text = True

    def handle_entityref(self, name: str) -> None:
        self.handle_data(name)

    handle_charref = handle_entityref
    handle_startendtag = handle_starttag  # in HTML, the slash of <div/> means nothing
