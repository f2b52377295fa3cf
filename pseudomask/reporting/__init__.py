"""One HTML page about a set of masks: numbers and plots first, then every image, worst first.

The data (`page`, `panels`) know nothing of HTML; `plots` are pure functions to SVG; `thumbs` are small pictures;
`writer` puts all into `templates/`, piece by piece, so that memory does not grow with the pictures.
"""
