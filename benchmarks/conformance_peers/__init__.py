"""
The conformance suite against other packages, each installed by itself and set up as its docs say.

`fixture` says what the routes do and `django_site` serves them; the package guards them.
"""
