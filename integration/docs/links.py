"""Finds broken links in a built book, and files that a page should show and does not.

    links.py FOLDER

Links to other hosts are not followed.
"""

import html.parser
import pathlib
import re
import sys
import urllib.parse

# With fewer than these, most of the pages were not checked.
FEWEST_PAGES, FEWEST_LINKS = 20, 300


class Page(html.parser.HTMLParser):
    """The targets of a page's links, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = [], set()
        # mdbook leaves an `include` of a file that it does not find as it is, and goes on.
        self.missing = re.findall(r"\{\{#[^}]*\}\}", text)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "id" in attributes:
            self.places.add(attributes["id"])
        name = {"a": "href", "img": "src", "link": "href", "script": "src"}.get(tag)
        if name and attributes.get(name):
            self.links.append(attributes[name])


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    # print.html repeats every page: its links are those of the others.
    pages = {
        path: Page(path.read_text())
        for path in root.rglob("*.html")
        if path.name not in ("print.html", "toc.html", "404.html")
    }
    broken, count = [], 0
    for path, page in sorted(pages.items()):
        broken += [f"{path.relative_to(root)}: {include}: not included" for include in page.missing]
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            target = (
                path
                if not parts.path
                else (path.parent / urllib.parse.unquote(parts.path)).resolve()
            )
            if target.is_dir() and (target / "index.html").is_file():
                target /= "index.html"
            where = path.relative_to(root)
            if not target.exists() or not target.is_relative_to(root):
                broken.append(f"{where}: {link}: there is no such file")
            elif (
                parts.fragment
                and target in pages
                and urllib.parse.unquote(parts.fragment) not in pages[target].places
            ):
                broken.append(f"{where}: {link}: the page has no such place")
    if len(pages) < FEWEST_PAGES or count < FEWEST_LINKS:
        broken.append(
            f"{len(pages)} pages with {count} links; expected at least {FEWEST_PAGES} with {FEWEST_LINKS}"
        )
    print("\n".join(broken) if broken else f"{len(pages)} pages, {count} links: none is broken")
    return 1 if broken else 0


sys.exit(main())
