"""The workload as a DBOS application on SQLite: `steps` durable steps, one after the other, each of which gives back a
number. The HTTP server in front of it is Python's own, with a thread for each connection, and does nothing else."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dbos import DBOS

port, database = int(sys.argv[1]), sys.argv[2]
DBOS(config={
    "name": "surefoot-bench",
    "system_database_url": f"sqlite:///{database}",
    "log_level": "WARNING",
    "run_admin_server": False,
})


@DBOS.step()
def echo():
    return {"value": 0}


@DBOS.workflow()
def run(steps):
    for _ in range(steps):
        echo()
    return {"steps": steps}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two writes, and must not wait for each other's acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self):
        task = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps(run(task["steps"])).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


DBOS.launch()
server = Server(("127.0.0.1", port), Handler)
print("ready", flush=True)
server.serve_forever()
