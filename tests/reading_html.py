"""Reads a page as a person does: the text of tables, tiles and lists."""

from html.parser import HTMLParser


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tables, self.tiles, self.pairs, self.text, self.external = {}, {}, {}, [], []
        self.tags = []
        self._table = self._row = self._cell = self._terms = None

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        for name in ("src", "href"):
            value = found.get(name) or ""
            if value and not value.startswith(("data:", "#")):
                self.external.append(value)
        kinds = (found.get("class") or "").split()
        if tag == "div" and "table" in kinds:
            self._table = self.tables.setdefault(found.get("id", f"table {len(self.tables)}"), [])
        elif tag == "tr":
            self._row = []
        elif tag in {"td", "th", "dt", "dd"}:
            self._cell = []
            self._kinds = kinds
        elif tag == "dl":
            self._terms = self.tiles if "tiles" in kinds else self.pairs
        elif tag == "br" and self._cell is not None:
            self._cell.append(" ")

    def handle_endtag(self, tag):
        if tag in {"td", "th"} and self._row is not None:
            self._row.append("".join(self._cell).replace("\u00a0", " ").strip())
            self._cell = None
        elif tag == "tr":
            self._table.append(self._row)
            self._row = None
        elif tag == "dt":
            self._term = "".join(self._cell)
            self._cell = None
        elif tag == "dd":
            value = "".join(self._cell).replace("\u00a0", " ")
            if "below" in self._kinds:
                self._terms[self._term] = (self._terms[self._term], value)
            else:
                self._terms[self._term] = value
            self._cell = None

    def handle_data(self, data):
        self.text.append(data)
        if self._cell is not None:
            self._cell.append(data)


def read(path):
    """Return a page's `tables` by id, `tiles` (value, line below), `pairs`, all `text`, `tags` and `external` links."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.text = "".join(reader.text).replace("\u00a0", " ")
    return reader
