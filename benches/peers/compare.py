#!/usr/bin/env python3
"""Compares Surefoot with Restate and DBOS: the same workload, the same load generator, in turn, on one machine.

It installs the peers into a temporary folder from npm and PyPI, at the versions that stand beside this file, starts
all servers on the loopback, loads them with `surefoot-bench load`, and stops what it started. See README.md.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent

# No server takes that long to start, and nothing to stop.
START_SECONDS = 60
STOP_SECONDS = 15


def main():
    arguments = parse()
    # Whoever ends this, by a signal or a closed terminal, ends the servers too.
    for ending in [signal.SIGTERM, signal.SIGHUP]:
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="surefoot-peers-", dir=arguments.folder))
        if arguments.keep:
            say(f"data and logs are in {folder}")
        else:
            stack.callback(shutil.rmtree, folder)
        servers = {"surefoot": surefoot(stack, folder, arguments.build)}
        if "restate" in arguments.peers:
            servers["restate"] = restate(stack, folder)
        if "dbos" in arguments.peers:
            servers["dbos"] = dbos(stack, folder)
        for callers, steps in [(arguments.callers, 10), (1, 1)]:
            say(f"{callers} callers, executions of {steps} steps")
            load(arguments, servers, callers, steps)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", nargs="*", choices=["restate", "dbos"], default=["restate", "dbos"])
    parser.add_argument("--callers", type=int, default=32, help="callers at one time (default: 32)")
    parser.add_argument("--rounds", type=int, default=10, help="how often the servers take turns (default: 10)")
    parser.add_argument("--seconds", type=float, default=5, help="how long each is loaded in a round (default: 5)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with data and logs, and say where it is")
    parser.add_argument("--folder", help="where the data is written: a folder on the disk to be measured")
    build = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    parser.add_argument("--build", type=Path, default=CHECKOUT / build, help="the build folder of cargo")
    return parser.parse_args()


def load(arguments, servers, callers, steps):
    """Loads all servers in turn, and shows the table."""
    command = [arguments.build / "release/surefoot-bench", "load", "--callers", str(callers)]
    command += ["--rounds", str(arguments.rounds), "--seconds", str(arguments.seconds)]
    for name, (url, body) in servers.items():
        command += ["--target", name, url, json.dumps(body(steps))]
    # Each server is loaded once before the rounds; a hanging one must not hang this.
    bound = 120 + 3 * len(servers) * arguments.rounds * arguments.seconds
    subprocess.run(command, check=True, timeout=bound)


def surefoot(stack, folder, build):
    """The release binary, with its defaults."""
    binary, data, port = build / "release/surefoot", folder / "surefoot", free_port()
    component = build / "wasm32-wasip2/flow/bench_guest.wasm"
    for path in [binary, build / "release/surefoot-bench", component]:
        if not path.is_file():
            sys.exit(f"{path} is not there: run `cargo xtask bench --only process`, which builds it")
    do = [binary, "--data", data]
    quietly([*do, "deploy", component, "--name", "bench-guest"])
    quietly([*do, "webhook", "set", "bench", "--flow", "bench-guest", "--enable", "--no-key"])
    start(stack, [*do, "serve", "--listen", f"127.0.0.1:{port}"], folder / "surefoot.log", port)
    url = f"http://127.0.0.1:{port}/api/latest/webhook/bench/call"
    return url, lambda steps: {"mode": "steps", "count": steps}


def restate(stack, folder):
    """The server from npm with its defaults, which sync every write to disk, and a service on Node.js."""
    home = folder / "restate"
    copy(HERE / "restate", home)
    say("installing Restate from npm")
    quietly(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=home)
    ingress, admin, node, service = (free_port() for _ in range(4))
    environment = {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LISTEN_MODE": "tcp",
        "DO_NOT_TRACK": "1",
    }
    command = [home / "node_modules/.bin/restate-server", "--base-dir", home / "data", "--no-logo"]
    start(stack, command, folder / "restate-server.log", ingress, environment)
    start(stack, ["node", "service.mjs", str(service)], folder / "restate-service.log", service, cwd=home)
    deployment = json.dumps({"uri": f"http://127.0.0.1:{service}"}).encode()
    wait_for(lambda: post(f"http://127.0.0.1:{admin}/deployments", deployment), "Restate takes no deployment")
    # Its ingress learns of the service a little later, and its callers are not told what is wrong with one.
    url = f"http://127.0.0.1:{ingress}/bench/run"
    wait_for(lambda: post(url, b'{"steps": 1}'), f"Restate does not answer; {folder / 'restate-service.log'} says why")
    return url, lambda steps: {"steps": steps}


def dbos(stack, folder):
    """DBOS on SQLite with its defaults: a rollback journal, `synchronous=FULL`."""
    home, port = folder / "dbos", free_port()
    home.mkdir()
    say("installing DBOS from PyPI")
    quietly([sys.executable, "-m", "venv", home / "venv"])
    python = home / "venv/bin/python"
    quietly([python, "-m", "pip", "install", "--quiet", "--requirement", HERE / "dbos/requirements.txt"])
    start(stack, [python, HERE / "dbos/service.py", str(port), home / "dbos.sqlite"], folder / "dbos.log", port)
    return f"http://127.0.0.1:{port}/", lambda steps: {"steps": steps}


def start(stack, command, log, port, environment=None, cwd=None):
    """Starts a server in a session of its own, waits until it listens, and has it stopped at the end."""
    output = stack.enter_context(open(log, "wb"))
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, start_new_session=True,
        env={**os.environ, **(environment or {})},
    )
    stack.callback(stop, process)

    def listens():
        if process.poll() is not None:
            raise SystemExit(f"{Path(command[0]).name} ended: {log.read_text(errors='replace')[-2000:]}")
        socket.create_connection(("127.0.0.1", port), timeout=1).close()

    wait_for(listens, f"{Path(command[0]).name} does not listen")


def stop(process):
    """Ends a server, and what it started: it leads a session of its own."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.terminate()
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(attempt, complaint):
    """Tries until it works."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return attempt()
        except (OSError, urllib.error.URLError) as error:
            if time.monotonic() > end:
                raise SystemExit(f"{complaint}: {error}") from error
        time.sleep(0.2)


def post(url, body):
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    # Proxies of the environment are not for the loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return answer.read()


def quietly(command, cwd=None):
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def copy(source, destination):
    destination.mkdir()
    for path in source.iterdir():
        if path.is_file():
            (destination / path.name).write_bytes(path.read_bytes())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def say(text):
    print(f"compare: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
