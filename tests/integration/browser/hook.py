"""hook.py PORT: print as a line whatever is posted, as whom Alertmanager tells of alerts."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Hook(BaseHTTPRequestHandler):
    """Takes everything."""

    def do_POST(self) -> None:
        """Print it."""
        print(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()


HTTPServer(("", int(sys.argv[1])), Hook).serve_forever()
