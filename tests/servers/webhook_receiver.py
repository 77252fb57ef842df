"""Receives signed webhooks, verifies them with the library of Standard Webhooks, and takes each message once.

What comes is a line of JSON in the file RECEIVED, written before it is answered: the id, whether the signature is good,
whether the id is new, and the body. The answer is 503 while the file DOWN exists, and nothing is taken then; 401 where
the signature is wrong; 204 otherwise.
"""

import argparse
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        is_down = os.path.exists(self.server.arguments.down)
        try:
            Webhook(self.server.arguments.secret).verify(body, headers)
            is_verified = True
        except WebhookVerificationError:
            is_verified = False
        with self.server.lock:
            message = headers.get("webhook-id")
            is_new = is_verified and not is_down and message not in self.server.taken
            if is_new:
                self.server.taken.add(message)
            line = {
                "id": message,
                "is_verified": is_verified,
                "is_refused": is_down,
                "is_new": is_new,
                "body": json.loads(body),
            }
            with open(self.server.arguments.received, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self.send_response(503 if is_down else 204 if is_verified else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


parser = argparse.ArgumentParser()
for name in ["--port", "--secret", "--received", "--down"]:
    parser.add_argument(name, required=True)
arguments = parser.parse_args()
server = ThreadingHTTPServer(("127.0.0.1", int(arguments.port)), Handler)
server.arguments, server.lock, server.taken = arguments, threading.Lock(), set()
server.serve_forever()
