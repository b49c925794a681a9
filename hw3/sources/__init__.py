"""Where faces come from: layouts, csvs, images, download, drawn, cache; below: fer2013, errors."""
