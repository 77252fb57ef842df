"""An HTTP/1.1 server on Python's `http.server` that writes down what it is asked.

Each request is a line of JSON in the file REQUESTS, written before it is answered: method, path, headers, and the
length, SHA-256 and beginning of the body. What it answers depends on the first part of the path:

    /echo            200 and the same line
    /status/N        status N; the text quotes the headers Authorization and X-Api-Key
    /redirect/N?to=  status N with that Location
    /bytes/N         N bytes
    /chunked         JSON in chunks
    /type?type=      a few bytes that are no UTF-8, with that Content-Type
    /cookies         two headers Set-Cookie
    /nothing         204
    /form            the parts of a multipart form, as the standard library reads them
    /packed/N        N bytes, packed with gzip; with ?cut= without so many bytes of its end, with ?plain= not packed at
                     all, with ?members= in so many pieces, with ?status= as an answer of that status
    /second          nothing at all to the first request for the path, which stays open; 200 to the later ones
"""

import argparse
import email.parser
import email.policy
import gzip
import hashlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT_BYTES_MAX = 64 * 1024


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        parsed = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(parsed.query))
        first, *self.parts = parsed.path.strip("/").split("/")
        request = self.write_down()
        action = getattr(self, "act_" + first, None)
        if action is None:
            return self.say(404, b"no such path")
        return action(request)

    do_GET = do_HEAD = do_OPTIONS = do_PUT = do_DELETE = do_POST = do_PATCH = handle_any

    def write_down(self):
        left = size = int(self.headers.get("Content-Length", 0))
        hashed, begin = hashlib.sha256(), b""
        while left > 0:
            piece = self.rfile.read(min(left, TEXT_BYTES_MAX))
            if not piece:
                raise ConnectionError("the body is cut")
            hashed.update(piece)
            begin = begin + piece if self.path.startswith("/form") else begin or piece
            left -= len(piece)
        request = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "size_bytes": size,
            "sha256": hashed.hexdigest(),
            "text": begin.decode("utf-8", "replace"),
        }
        self.content = begin
        with self.server.lock:
            request["earlier"] = self.server.seen.get(self.path, 0)
            self.server.seen[self.path] = request["earlier"] + 1
            with open(self.server.requests, "a", encoding="utf-8") as file:
                file.write(json.dumps(request) + "\n")
        return request

    def say(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def act_echo(self, request):
        self.say(200, json.dumps(request).encode(), [("Content-Type", "application/json")])

    def act_status(self, _):
        quoted = "\n".join(f"{name}: {self.headers.get(name)}" for name in ("Authorization", "X-Api-Key"))
        self.say(int(self.parts[0]), f"status {self.parts[0]}\tfor you\n{quoted}".encode())

    def act_redirect(self, _):
        self.say(int(self.parts[0]), b"", [("Location", self.query["to"])])

    def act_bytes(self, _):
        left = int(self.parts[0])
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        piece = bytes(TEXT_BYTES_MAX)
        while left > 0:
            left -= self.wfile.write(piece[: min(left, len(piece))])

    def act_chunked(self, _):
        self.send_response(200)
        self.send_header("Content-Type", "application/problem+json; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (b'{"in":', b'"chunks"', b"}"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def act_type(self, _):
        self.say(200, b"\xe4\xf6\xfc", [("Content-Type", self.query["type"])])

    def act_cookies(self, _):
        self.say(200, b"", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])

    def act_nothing(self, _):
        self.say(204, b"")

    def act_form(self, _):
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self.content)
        parts = [
            {
                "name": part.get_param("name", header="content-disposition"),
                "file_name": part.get_filename(),
                "content_type": part["content-type"],
                "size_bytes": len(part.get_payload(decode=True)),
                "sha256": hashlib.sha256(part.get_payload(decode=True)).hexdigest(),
            }
            for part in form.iter_parts()
        ]
        defects = [repr(defect) for part in form.walk() for defect in part.defects]
        answer = {"parts": parts, "defects": defects}
        self.say(200, json.dumps(answer).encode(), [("Content-Type", "application/json")])

    def act_packed(self, request):
        number, members = int(self.parts[0]), int(self.query.get("members", 1))
        body = b"".join(gzip.compress(bytes(number // members)) for _ in range(members))
        if "plain" in self.query:
            body = bytes(number)
        body = body[: len(body) - int(self.query.get("cut", 0))]
        asked = [("X-Asked", request["headers"].get("accept-encoding", ""))]
        self.say(int(self.query.get("status", 200)), body, [("Content-Encoding", "gzip"), *asked])

    def act_second(self, request):
        if request["earlier"] == 0:
            # Until the client hangs up.
            self.rfile.read(1)
            self.close_connection = True
        else:
            self.say(200, b"at last")

    def log_message(self, *_):
        pass


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--requests", required=True)
    arguments = arguments.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.daemon_threads = True
    server.requests, server.seen, server.lock = arguments.requests, {}, threading.Lock()
    server.serve_forever()


if __name__ == "__main__":
    main()
