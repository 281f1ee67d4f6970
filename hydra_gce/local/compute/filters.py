"""Google's filter language, in both forms that `filter=` takes.

The expression form: `status = RUNNING AND (labels.owner = me OR NOT name : web*)`; a space between two terms is an AND.
The older form of regular expressions over whole values: `name eq 'vm-.*'`, `zone ne .*-b`, several of them in
parentheses one after another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hydra_gce.local.compute.errors import ApiError

Predicate = Callable[[dict[str, Any]], bool]
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<operator><=|>=|!=|=~|!~|=|<|>|:)
    |(?P<paren>[()])
    |(?P<word>(?:[^\s()"'=<>!:]|!(?![=~]))+)
    )""",
    re.VERBOSE,
)
_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", ":", "=~", "!~", "eq", "ne")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def compile_filter(text: str) -> Predicate:
    """A function that says whether a resource passes. Raises 400 where the text is no filter."""
    if not text.strip():
        return lambda resource: True
    return _Parser(text).parse()


def values_at(resource: Any, path: list[str]) -> list[Any]:
    """What a dotted path reaches; through every element of the arrays on its way."""
    if isinstance(resource, list):
        return [value for item in resource for value in values_at(item, path)]
    if not path:
        return [resource]
    if not isinstance(resource, dict):
        return []
    # A label's key may itself contain dots in a quoted path; the longest key that fits wins.
    for cut in range(len(path), 0, -1):
        key = ".".join(path[:cut])
        for candidate in (key, _camel(key)):
            if candidate in resource:
                return values_at(resource[candidate], path[cut:])
    return []


class _Parser:
    """Recursive descent: or -> and -> not -> term. In Google's language OR binds tighter than AND."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._tokens())
        self.next = 0

    def parse(self) -> Predicate:
        predicate = self._conjunction()
        if self.next < len(self.tokens):
            raise self._error()
        return predicate

    def _tokens(self) -> Iterable[_Token]:
        at, text = 0, self.text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise self._error()
            yield _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
            at = match.end()

    def _conjunction(self) -> Predicate:
        terms = [self._disjunction()]
        while self._more():
            self._take_word("AND")
            terms.append(self._disjunction())
        return terms[0] if len(terms) == 1 else lambda resource: all(term(resource) for term in terms)

    def _disjunction(self) -> Predicate:
        terms = [self._negation()]
        while self._take_word("OR"):
            terms.append(self._negation())
        return terms[0] if len(terms) == 1 else lambda resource: any(term(resource) for term in terms)

    def _negation(self) -> Predicate:
        token = self._peek()
        if self._take_word("NOT"):
            inner = self._negation()
            return lambda resource: not inner(resource)
        if token is not None and token.kind == "word" and token.text.startswith("-") and len(token.text) > 1:
            self.tokens[self.next] = _Token("word", token.text[1:], token.at + 1)
            inner = self._negation()
            return lambda resource: not inner(resource)
        return self._term()

    def _term(self) -> Predicate:
        token = self._take()
        if token.text == "(" and token.kind == "paren":
            inner = self._conjunction()
            closing = self._take()
            if closing.text != ")":
                raise self._error()
            return inner
        if token.kind not in ("word", "quoted"):
            raise self._error()
        path = _unquote(token).split(".")
        operator = self._take()
        name = operator.text.lower() if operator.kind == "word" else operator.text
        if name not in _COMPARISONS:
            raise self._error()
        wanted = self._take()
        if wanted.kind not in ("word", "quoted"):
            raise self._error()
        return self._comparison(path, name, self._whole_value(wanted))

    def _whole_value(self, token: _Token) -> str:
        """A bare value may hold `:` and `=` (URLs, times): tokens that touch belong together."""
        text, end = _unquote(token), token.at + len(token.text)
        while token.kind == "word" and (following := self._peek()) is not None:
            if following.at != end or following.kind not in ("word", "operator"):
                break
            text += following.text
            end = following.at + len(following.text)
            self.next += 1
        return text

    def _comparison(self, path: list[str], operator: str, wanted: str) -> Predicate:
        if operator in ("eq", "ne", "=~", "!~"):
            try:
                pattern = re.compile(wanted)
            except re.error as error:
                raise self._error() from error
            found = pattern.search if operator in ("=~", "!~") else pattern.fullmatch
            if operator in ("eq", "=~"):
                return lambda resource: any(found(_text(value)) for value in values_at(resource, path))
            return lambda resource: not any(found(_text(value)) for value in values_at(resource, path))
        if operator == ":":
            return lambda resource: _has(values_at(resource, path), wanted)
        if operator == "!=":
            return lambda resource: not any(_equal(value, wanted) for value in values_at(resource, path))
        if operator == "=":
            return lambda resource: any(_equal(value, wanted) for value in values_at(resource, path))
        return lambda resource: any(_ordered(value, operator, wanted) for value in values_at(resource, path))

    def _more(self) -> bool:
        token = self._peek()
        return token is not None and token.text != ")"

    def _peek(self) -> _Token | None:
        return self.tokens[self.next] if self.next < len(self.tokens) else None

    def _take(self) -> _Token:
        token = self._peek()
        if token is None:
            raise self._error()
        self.next += 1
        return token

    def _take_word(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "word" or token.text != word:
            return False
        self.next += 1
        return True

    def _error(self) -> ApiError:
        return ApiError(
            400,
            "invalid",
            f"Invalid value for field 'filter': '{self.text}'. Invalid list filter expression.",
        )


def _unquote(token: _Token) -> str:
    if token.kind != "quoted":
        return token.text
    return re.sub(r"\\([\"'\\])", r"\1", token.text[1:-1])


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, (dict, list)):
        return False
    if isinstance(value, bool):
        return _text(value) == wanted.lower()
    if "*" in wanted:
        return re.fullmatch(".*".join(map(re.escape, wanted.split("*"))), _text(value)) is not None
    number, other = _number(value), _number(wanted)
    return number == other if number is not None and other is not None else _text(value) == wanted


def _has(values: list[Any], wanted: str) -> bool:
    if wanted == "*":
        return bool(values)
    for value in values:
        if isinstance(value, dict) and wanted in value:
            return True
        if _equal(value, wanted) or (
            isinstance(value, str) and "*" not in wanted and wanted.lower() in value.lower()
        ):
            return True
    return False


def _ordered(value: Any, operator: str, wanted: str) -> bool:
    left: Any = _number(value)
    right: Any = _number(wanted)
    if left is None or right is None:
        left, right = _time(value), _time(wanted)
    if left is None or right is None:
        left, right = _text(value), wanted
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator])


def _time(value: Any) -> float | None:
    """A point in time, so that `creationTimestamp > 2026-01-01T00:00:00Z` holds across time zones."""
    if not isinstance(value, str) or "T" not in value:
        return None
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
