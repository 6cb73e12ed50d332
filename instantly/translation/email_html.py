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
# As above, with the names of Outlook and of custom elements: o:p, x-y.
TAG_START = re.compile(r"</?([a-z][a-z0-9]*(?:[:-][a-z0-9]+)*)(?=[\s/>])", re.IGNORECASE)
# Of Outlook: <![if !mso]>, <![endif]>.
CONDITION = re.compile(r"<!\[(?:if|else|endif)[^<>\]]*\]>", re.IGNORECASE)
BRACKETED = re.compile("<[^<>]*>?")
END_TAG = re.compile("</([a-z][a-z0-9]*)", re.IGNORECASE)
# Those of Unicode [UAX 14].
LINE_BREAK = re.compile("\r\n|[\n\v\f\r\x85\u2028\u2029]")
# Blank lines, or a line break.
GAP = re.compile(r"\n[ \t]*(?:\n[ \t]*)+|\n")


def email_html(body: str) -> str:
    """HTML in which every text stands inside an element.

    A body without any tag is text: it is escaped, blank lines part its paragraphs, and line breaks
    stay. The lines of HTML without blocks and <br> are kept, too. In other HTML, a run of text and
    inline elements on the top level becomes a paragraph.
    """
    elements = {tag[1].lower() for tag in TAG.finditer(body)} & ELEMENTS
    if elements & BLOCK or "br" in elements:
        return TopLevel(body).wrapped()
    text = LINE_BREAK.sub("\n", body).strip("\n")
    return TopLevel(text if elements else escape(text, quote=False), has_lines=True).wrapped()


class TopLevel(HTMLParser):
    """Finds the runs of text and inline elements that no block element holds.

    Brackets that make no tag, as in <ann@widgets.example> or 1 < 2, are text and become entities.
    With `has_lines`, blank lines end a run, and other line breaks become <br/>.
    """

    def __init__(self, body: str, *, has_lines: bool = False) -> None:
        super().__init__(convert_charrefs=False)
        self._body = body
        self._has_lines = has_lines
        self._closed_names = {name.lower() for name in END_TAG.findall(body)}
        self._last_ends = {end: body.rfind(end) for end in (">", "-->", "]]>")}
        self._html = list(body)
        """the body by character, with what takes the place of some"""
        self._open: list[str] = []
        self._run_start = 0
        self._run_has_text = self._run_has_block = False
        self._parts: list[str] = []

    def wrapped(self) -> str:
        # All on one line: the column of a tag is its offset. Entities are text like any other.
        self.feed(self._body.replace("\n", " ").replace("&", "_"))
        self.close()
        self._end_run(len(self._body))
        return "".join(self._parts)

    def _end_run(self, end: int) -> None:
        run = "".join(self._html[self._run_start : end])
        # A paragraph would end where a block inside it begins.
        wrapper = "div" if self._run_has_block else "p"
        is_wrapped = run.strip() if self._has_lines else self._run_has_text
        self._parts.append(f"<{wrapper}>{run}</{wrapper}>" if is_wrapped else run)
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
        _, start = self.getpos()
        if data.strip() and not self._open:
            self._run_has_text = True
        if self._open[-1:] not in (["script"], ["style"]):
            for bracket in re.finditer("<", data):
                self._html[start + bracket.start()] = "&lt;"
        if self._has_lines:
            # What was fed has no line breaks.
            self._break_lines(start, self._body[start : start + len(data)])

    def _break_lines(self, start: int, text: str) -> None:
        for gap in GAP.finditer(text):
            begin, end = start + gap.start(), start + gap.end()
            if not self._open and gap[0] != "\n":
                self._end_run(begin)
                self._run_start = end
            else:
                self._html[begin:end] = ["<br/>" if c == "\n" else c for c in gap[0]]

    def parse_starttag(self, i: int) -> int:
        return super().parse_starttag(i) if self._is_tag(i) else self._take_for_text(i)

    def parse_endtag(self, i: int) -> int:
        return super().parse_endtag(i) if self._is_tag(i) else self._take_for_text(i)

    def parse_comment(self, i: int, report: bool = True) -> int:
        is_whole = self._ends("-->")
        return super().parse_comment(i, report) if is_whole else self._take_for_text(i)

    def parse_pi(self, i: int) -> int:
        return super().parse_pi(i) if self._ends(">") else self._take_for_text(i)

    def parse_html_declaration(self, i: int) -> int:
        if self.rawdata.startswith("<![CDATA[", i):
            is_whole = self._ends("]]>")
        elif self.rawdata.startswith("<![", i):
            is_whole = CONDITION.match(self.rawdata, i) is not None
        else:
            is_whole = self._ends(">")
        return super().parse_html_declaration(i) if is_whole else self._take_for_text(i)

    def _ends(self, end: str) -> bool:
        """Whether what begins here may have an end: the parser would look for each one's to the
        end of the body."""
        return self.getpos()[1] <= self._last_ends[end]

    def _is_tag(self, i: int) -> bool:
        """Whether a tag begins there: of HTML, one that is closed, or one that looks like markup.

        <Ann Miller> is none.
        """
        tag = TAG_START.match(self.rawdata, i)
        if tag is None or not self._ends(">"):
            return False
        name = tag[1].lower()
        if name in ELEMENTS or name in self._closed_names:
            return True
        return not name.isalnum() or "=" in self._bracketed(i)

    def _take_for_text(self, i: int) -> int:
        _, start = self.getpos()
        bracketed = self._bracketed(i)
        if bracketed.endswith(">"):
            self._html[start + len(bracketed) - 1] = "&gt;"
        self.handle_data("<")
        return i + 1

    def _bracketed(self, i: int) -> str:
        """From the bracket that stands there to its counterpart, or to where none can come."""
        bracketed = BRACKETED.match(self.rawdata, i)
        return bracketed[0] if bracketed else ""

    handle_startendtag = handle_starttag  # in HTML, the slash of <div/> means nothing
