"""Serves the files of a folder on a free port of loopback, with the content types of metrics, and prints the port.

usage: serve.py FOLDER
"""

import functools
import http.server
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {
        ".txt": "text/plain; version=0.0.4",
        ".om": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    }

    def log_message(self, *_: object) -> None:
        """Prometheus scrapes each second."""


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1])) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
