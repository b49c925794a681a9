"""The press: what turns chapters into pages. No chapter calls it, and who only wants to know how
the report computes may skip it.

book.py runs the chapters and builds the HTML, page.py adds what the pages need beyond the theme,
translate.py makes the Chinese edition, pdf.py prints the report.
"""
