"""All built pages in a browser. A file of its own, as it takes longest: another worker tests the
rest of the pages meanwhile.
"""

from test_page import FIRST, broken, browser, html, look, opened  # noqa: F401  fixtures too

from press import chapters

AXE_IN_CHINESE = (
    "index",
    "try",
)  # the others have the English pages' structure, which axe-core reads there


def test_every_page_in_a_browser(html, browser, capsys):  # noqa: F811
    paths = [
        p
        for p in sorted(html.rglob("*.html"))
        if "_static" not in p.relative_to(html).parts
        and p.relative_to(html).as_posix() not in FIRST
    ]
    assert {f"{name}.html" for name in chapters.ORDER} <= {p.name for p in paths}
    seen, wrong, paints = {}, [], {}
    with opened(browser) as (tab, heard):
        for path in paths:
            chinese = "zh" in path.relative_to(html).parts
            axe = not chinese or path.stem in AXE_IN_CHINESE
            found, ids, links, paints[path.stem + " zh" * chinese] = look(tab, heard, path, axe)
            seen[path] = ids, links
            wrong += [f"{path.relative_to(html)}: {what}" for what in found]
    assert wrong == []
    assert broken(seen) == []
    assert sum(len(links) for _, links in seen.values()) > 100
    with capsys.disabled():
        print(
            "\nseconds to the first view: "
            + ", ".join(f"{name} {s:.2f}" for name, s in paints.items() if s)
        )
