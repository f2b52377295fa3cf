"""One HTML page about a set of masks: numbers and plots, then every image, worst first.

`page` and `panels` hold the data, without HTML; `plots` makes SVG; `thumbs` makes thumbnails; `writer` fills
`templates/` piece by piece, so that memory does not grow with the number of images.
"""
