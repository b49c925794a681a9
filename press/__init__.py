"""The press: what turns chapters into pages. No chapter calls it, and who only wants to know how
the report computes may skip it.

chapters.py knows the chapters and what decides each, build.py runs them and builds the HTML,
page.py adds what pages need beyond the theme, translate.py makes the Chinese edition, pdf.py prints
the report.
"""
