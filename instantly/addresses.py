"""What an address is, and when two of them are the same mailbox."""

import re
import unicodedata

from instantly.limits import MAX_EMAIL_CHARACTERS

# What Unicode says to show as nothing: format characters, fillers, variation selectors, tags.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Python and Postgres make different small letters of these: one lead would be two, or two one.
UNCLEAR_CASE = re.compile("[\u0130\u03a3]")
BLANKS_AND_DOTS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "."
# Full stops of other scripts, which part the labels of a domain, too.
FULL_STOPS = re.compile("[\u3002\uff0e\uff61]")

NOT_IN_A_DOMAIN = re.compile(r"[\s!-,/:-@\[-`{-~]|\.\.|\.$")


def clean_address(text: str) -> str:
    """The address without what nobody sees. What is no address is cleaned in the same way."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", INVISIBLE.sub("", text))
    return text.lstrip().rstrip(BLANKS_AND_DOTS)


def stored_address(text: str) -> str:
    """As our tables keep and show it: `lower` makes `same_address` of it."""
    text = clean_address(text)
    user, at, domain = (text.lower() if UNCLEAR_CASE.search(text) else text).rpartition("@")
    return user + at + one_spelling(domain)


def same_address(text: str) -> str:
    """Equal for two spellings of one mailbox."""
    return unicodedata.normalize("NFC", stored_address(text).lower())


def one_spelling(domain: str) -> str:
    """A domain in letters of other scripts, whether it is written in them or as `xn--` labels.

    By the rules of IDNA 2008, by which `straße` and `strasse` are two (Python's own codec knows
    only those of 2003), but without their refusals: this compares, and others judge.
    """
    is_plain = domain.isascii() and "xn--" not in domain.lower()
    if is_plain or len(domain) > MAX_EMAIL_CHARACTERS:
        return domain
    return ".".join(map(letters_of, small_letters(FULL_STOPS.sub(".", domain)).split(".")))


def spellings(address: str) -> list[str]:
    """How others may have written it: as it stands here, its domain in letters, and as `xn--`."""
    user, at, domain = clean_address(address).rpartition("@")
    letters = one_spelling(domain)
    labels = ".".join(map(label_of, letters.split(".")))
    return list(dict.fromkeys([address, user + at + letters, user + at + labels]))


def label_of(letters: str) -> str:
    return letters if letters.isascii() else f"xn--{letters.encode('punycode').decode()}"


def is_readable(address: str) -> bool:
    """Whether the domain, in letters, holds nothing that no domain holds: NFKC makes blanks and
    commas of what is allowed as a letter."""
    return not NOT_IN_A_DOMAIN.search(one_spelling(address.rpartition("@")[2]))


def letters_of(label: str) -> str:
    """What an `xn--` label stands for; any other label, and one that stands for nothing, itself."""
    if not label.startswith("xn--") or not label.isascii():
        return label
    try:
        letters = small_letters(label[4:].encode().decode("punycode"))
    except UnicodeError:
        return label
    is_of_use = not letters.isascii() and letters.isprintable() and not set("@.") & set(letters)
    return letters if is_of_use and clean_address(letters) == letters else label


def small_letters(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
