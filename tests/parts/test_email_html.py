"""Bodies of which Instantly, which strips text outside any element, keeps every word."""

import random
import re
from collections.abc import Callable
from html.parser import HTMLParser
from time import process_time

import pytest

from instantly.translation.email_html import email_html

VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}
# A paragraph ends where one of these begins, whether </p> is written or not [HTML standard].
ENDS_A_PARAGRAPH = {"blockquote", "div", "h1", "h2", "hr", "ol", "p", "pre", "table", "ul"}


class Sanitizer(HTMLParser):
    """Reads HTML as a browser does, and parts the text inside elements from that outside."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.inside: list[str] = []
        self.outside: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ENDS_A_PARAGRAPH:
            self.handle_endtag("p")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if data.strip():
            (self.inside if self.open else self.outside).append(data)


class Bodies:
    """Random mixtures of text, inline and block elements; `words` notes the texts in order."""

    INLINE = ("<b>{}</b>", "<a href='https://x.example/?a=1&b=2'>{}</a>", "<SPAN class=x>{}</SPAN>")
    LINES = ("<p style='margin:0'>{}</p>", "<h2>{}</h2>", "<ul><li>{}</li></ul>", "<P>{}</P>")
    BOXES = ("<div>{}</div>", "<table><tr><td>{}</td></tr></table>", "<blockquote>{}</blockquote>")
    TEXTS = ("{}", " {}\n", "{} &amp;", "&nbsp;{}", "&#8220;{}", "3 < {} & ")
    EMPTY = ("<br>", "<br/>", "<img src='x.png' alt='a > b'>", "<!-- <p>no text</p> -->")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.words: list[str] = []

    def text(self) -> str:
        word = f"word{len(self.words)}."
        self.words.append(word)
        return self.random.choice(self.TEXTS).format(word)

    def inline(self, depth: int) -> str:
        kind = self.random.randrange(4)
        if kind == 0 and depth:
            return self.random.choice(self.INLINE).format(self.several(self.inline, depth - 1))
        return self.random.choice(self.EMPTY) if kind == 1 else self.text()

    def mixture(self, depth: int) -> str:
        kind = self.random.randrange(6)
        if not depth or kind < 2:
            return self.inline(depth)
        if kind == 2:
            return self.random.choice(("<hr>", "\n", "<hr/>", " "))
        if kind == 3:
            return self.random.choice(self.LINES).format(self.several(self.inline, depth - 1))
        wrappers = self.BOXES if kind == 4 else self.INLINE
        return self.random.choice(wrappers).format(self.several(self.mixture, depth - 1))

    def several(self, part: Callable[[int], str], depth: int) -> str:
        return "".join(part(depth) for _ in range(self.random.randrange(1, 5)))


# What would end a line, or is no line.
NO_LINE = r"<br/?>|\n|<!--.*?-->"
LINE_BREAKS = ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"]


def is_subsequence(part: str, whole: str) -> bool:
    rest = iter(whole)
    return all(character in rest for character in part)


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("Hi {{firstName}},", "<p>Hi {{firstName}},</p>"),
        *((f"one{line_break}two", "<p>one<br/>two</p>") for line_break in LINE_BREAKS),
        *((f"one{line_break * 2}two", "<p>one</p><p>two</p>") for line_break in LINE_BREAKS),
        ("one\n \t\n\n\ntwo", "<p>one</p><p>two</p>"),
        ("\n\none\n", "<p>one</p>"),
        ("R&amp;D", "<p>R&amp;amp;D</p>"),
        ("I <3 you", "<p>I &lt;3 you</p>"),
        ("'quoted' \"twice\"", "<p>'quoted' \"twice\"</p>"),
        ("write to <ada@example.com>", "<p>write to &lt;ada@example.com&gt;</p>"),
    ],
)
def test_a_body_without_tags_is_text(body, html):
    assert email_html(body) == html


WHOLE = [
    "<P CLASS=x>Hi</P>",
    "<div>one<p>two</p>three</div>",
    "<p>R&D &amp; more</p>",
    "<!DOCTYPE html><html><head><title>t</title></head><body>Hi</body></html>",
    "<style>p { color: red }</style><p>Hi</p>",
    "<ul><li>one<li>two</ul>",
    "<p>one</p><!-- not text --><p>two</p>",
    "<p>one</p><br><br><p>two</p>",
    "<hr>",
    "<p title='a > b'>Hi</p>",
]
# Text that stands beside the elements becomes a paragraph.
WRAPPED = {
    "Hi<br>there": "<p>Hi<br>there</p>",
    "one<p>two</p>three": "<p>one</p><p>two</p><p>three</p>",
    "one <b>two</b> three": "<p>one <b>two</b> three</p>",
    "<p>one</p>two <i>three</i><p>four</p>": "<p>one</p><p>two <i>three</i></p><p>four</p>",
    "one<hr>two": "<p>one</p><hr><p>two</p>",
    "<img src=x>one": "<p><img src=x>one</p>",
    "<p>one</p>&nbsp;&amp;": "<p>one</p><p>&nbsp;&amp;</p>",
    "<p>one</p>1 < 2": "<p>one</p><p>1 &lt; 2</p>",
    "<ul><li>one<li>two</ul>three": "<ul><li>one<li>two</ul><p>three</p>",
    "<p>one</p><strange>two</strange>3": "<p>one</p><p><strange>two</strange>3</p>",
}

# In HTML without blocks and <br>, line breaks are meant.
LINES = {
    "Hi,\n\nI saw <a href='x'>it</a>.\n\nBest,\nTess": (
        "<p>Hi,</p><p>I saw <a href='x'>it</a>.</p><p>Best,<br/>Tess</p>"
    ),
    **{f"<b>one</b>{line_break}two": "<p><b>one</b><br/>two</p>" for line_break in LINE_BREAKS},
    "\n<b>one</b>\n \t\n\ntwo\n": "<p><b>one</b></p><p>two</p>",
    "<b>one\n\ntwo</b>\n\nthree": "<p><b>one<br/><br/>two</b></p><p>three</p>",
    "<img src=x>\n\n<a\nhref=y>one</a>": "<p><img src=x></p><p><a\nhref=y>one</a></p>",
    "one &#zwei & <i>R&D</i>\n&nbsp;two": "<p>one &#zwei & <i>R&D</i><br/>&nbsp;two</p>",
    # Here they are not.
    "<b>one</b>\ntwo<br>three": "<p><b>one</b>\ntwo<br>three</p>",
    "<p>one</p>\n\n<b>two</b>\n\nthree": "<p>one</p><p>\n\n<b>two</b>\n\nthree</p>",
}
NO_TAGS = {
    "<ann@widgets.example>": "&lt;ann@widgets.example&gt;",
    "</ann@widgets.example>": "&lt;/ann@widgets.example&gt;",
    "<https://widgets.example/?a=b>": "&lt;https://widgets.example/?a=b&gt;",
    "<mailto:ann@widgets.example>": "&lt;mailto:ann@widgets.example&gt;",
    "<widgets.example>": "&lt;widgets.example&gt;",
    "<Ann Miller>": "&lt;Ann Miller&gt;",
    "<![foo[x]]>": "&lt;![foo[x]]&gt;",
    **{text: text.replace("<", "&lt;") for text in ("<3", "< b", "<5 %>", "<-", "<>", "a<b")},
}
TAGS = [
    "<o:p></o:p>",
    "<x-y>",
    "<strange>two</strange>",
    "<v:shape>",
    '<basefont size="3">',
    "<!-- <ann@widgets.example> -->",
    "<style>a < b</style>",
    "<script>if (a<b) c</script>",
    "<b\n>two</b >",
    "<IMG\nSRC=x>",
    "<br/>",
    "<hr />",
]


@pytest.mark.parametrize(
    ("body", "html"), [*zip(WHOLE, WHOLE, strict=True), *WRAPPED.items(), *LINES.items()]
)
def test_html_is_sent_as_it_is_but_for_text_beside_the_elements(body, html):
    assert email_html(body) == html


MIXED = [
    "one<a href=x><div>two</div></a>three",
    "<span>one<p>two</p></span>three",
    "one</p>two",
    "</div>one",
    "<p>one</p></p>two</b>three",
    "<b>one",
    "one<b>two<p>three</p>four",
    "<p>one</p>two <",
    "<p>one</p>two <b",
    "<p>one</p>two &",
    "<p>one</p>\n\n\ttwo\n",
    "<!-- 0 --><b>one</b>two",
    "<script>1</script>one<p>two</p>",
    # </p> may be left out.
    "<p>one<p>two</p>three",
    "<p>one<div>two</div>three",
    "<p>one<ul><li>two</ul>three",
    "<p>one<hr>two",
    "<p>one<table><tr><td>two</td></tr></table>three",
]


@pytest.mark.parametrize(("text", "escaped"), NO_TAGS.items())
def test_what_cannot_be_a_tag_is_text(text, escaped):
    assert email_html(f"<p>{text}, <b>call</b></p>") == f"<p>{escaped}, <b>call</b></p>"
    assert email_html(f"<b>call</b> {text}") == f"<p><b>call</b> {escaped}</p>"


@pytest.mark.parametrize("tag", TAGS)
def test_what_may_be_a_tag_is_left_as_it_is(tag):
    assert email_html(f"<p>one</p>{tag}<p>three</p>").replace("<p></p>", "").count(tag) == 1
    assert email_html(f"<div>{tag}</div>") == f"<div>{tag}</div>"


def test_what_no_bracket_ends_keeps_nobody_waiting():
    begin = process_time()
    for tag in ("<b ", "<x ", "<a@", "</b ", "<!--", "<?", "<!x", "<![CDATA[", "<![if "):
        assert email_html("<p>one</p>" + tag * 40_000).startswith("<p>one</p><p>&lt;")
    assert process_time() - begin < 5


@pytest.mark.parametrize("body", MIXED)
def test_no_word_is_left_outside_an_element(body):
    kept = Sanitizer(email_html(body))
    assert kept.outside == []
    words = re.findall(r"one|two|three|four", body)
    assert re.findall(r"one|two|three|four", "".join(kept.inside)) == words


@pytest.mark.parametrize("seed", range(20))
def test_of_any_mixture_every_word_stands_inside_an_element_and_in_its_order(seed):
    for number in range(100):
        bodies = Bodies(1000 * seed + number)
        body = bodies.several(bodies.mixture, depth=3) + "<br>"
        html = email_html(body)
        kept = Sanitizer(html)
        assert kept.outside == [], (body, html)
        assert re.findall(r"word\d+\.", "".join(kept.inside)) == bodies.words, (body, html)
        assert is_subsequence(body.replace("3 <", "3 &lt;"), html), (body, html)
        assert email_html(html) == html, body


@pytest.mark.parametrize("seed", range(5))
def test_of_any_lines_every_word_stands_inside_an_element_and_every_line_by_itself(seed):
    for number in range(100):
        bodies = Bodies(1000 * seed + number)
        parts = [bodies.several(bodies.inline, depth=2) for _ in range(4)]
        first, *others = [f"-{re.sub(NO_LINE, '', part)}" for part in parts]
        html = email_html(f"{first}\n\n" + "\n".join(others) + "<b>end</b>")
        kept = Sanitizer(html)
        assert kept.outside == [], html
        assert re.findall(r"word\d+\.", "".join(kept.inside)) == bodies.words, html
        before, after = re.fullmatch("<p>(.*)</p><p>(.*)</p>", html).groups()
        assert (before.count("<br/>"), after.count("<br/>")) == (0, 2), html
