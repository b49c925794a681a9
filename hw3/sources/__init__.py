"""Where faces come from: files (layouts, csvs, images), the cache, the drawn faces, a download.

Below them: fer2013 (its words and numbers) and errors (how bad data are refused).
"""
