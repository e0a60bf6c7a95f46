#!/usr/bin/env python3
"""queries.py PROMETHEUS WEIRGATE_PROXY: every query of the dashboard and of the alert rules, against the real output.

Runs a server with a user, and a Prometheus that scrapes it, and asks each query of weirgate.json and each selector of
weirgate.rules.yaml. A query that finds nothing names something that the server does not tell. Loopback only; ends by itself.
"""

import http.server
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

PACKAGING = pathlib.Path(__file__).resolve().parent.parent
METRIC = re.compile(r"\b((?:weirgate|process)_[a-z_]+)(\{[^}]*\})?")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(base, query):
    url = f"{base}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def dashboard():
    """(title, query) of each panel, with the variables as Grafana would fill them in."""
    board = json.loads((PACKAGING / "grafana/weirgate.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "10s").replace("$job", "weirgate")
            yield panel["title"], query.replace("$instance", ".*")


def selectors():
    """What the alert rules read: each metric with its labels."""
    rules = (PACKAGING / "prometheus/weirgate.rules.yaml").read_text()
    for line in rules.splitlines():
        if line.lstrip().startswith(("expr:", "sum ", "/ sum ")):
            for name, labels in METRIC.findall(line):
                yield "alert rules", name + labels


CONFIG = """
listen = ["127.0.0.1:0"]
allow_egress = ["127.0.0.0/8"]
[bandwidth]
limit = "token-bucket:rate=10MB/s"
[admin]
listen = ["127.0.0.1:0"]
user_metrics = 10
"""


def start_proxy(program, folder):
    """A server that has served a user once, and where its metrics are."""
    database = ["--database", f"{folder}/users.db"]
    (folder / "password").write_text("a long password")
    (folder / "weirgate.toml").write_text(CONFIG)
    user = [program, "user", "add", "ada", "--rate", "1 MB/s", "--password-file", folder / "password", *database]
    subprocess.run(user, check=True, stdout=subprocess.DEVNULL)
    run = [program, "run", "--config", folder / "weirgate.toml", *database]
    server = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = {}
    while "admin" not in found or "listening" not in found:
        word, address = server.stdout.readline().split()
        found[word] = address
    # Its own admin API is no target: any other web server will do.
    target = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=target.handle_request, daemon=True).start()
    proxy = f"socks5h://ada:a%20long%20password@{found['listening']}"
    fetch = ["curl", "-sfo", "/dev/null", "-x", proxy, f"http://127.0.0.1:{target.server_port}/"]
    subprocess.run(fetch, check=True)
    return server, found["admin"]


def main(prometheus, program):
    queries = list(dashboard()) + list(selectors())
    assert len(queries) > 40, "the files were not read"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        proxy, address = start_proxy(program, folder)
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(PACKAGING / "prometheus/weirgate.rules.yaml")],
            "scrape_configs": [
                {"job_name": "weirgate", "static_configs": [{"targets": [address]}]}
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        port = free_port()
        arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        arguments += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        server = subprocess.Popen([prometheus, *arguments])
        try:
            return check(f"http://127.0.0.1:{port}", queries)
        finally:
            for process in (server, proxy):
                process.terminate()
                process.wait(40)


def check(base, queries):
    deadline = time.monotonic() + 60
    left = queries
    while left and time.monotonic() < deadline:
        time.sleep(1)
        try:
            left = [(where, query) for where, query in left if not ask(base, query)]
        except OSError:
            continue
    with urllib.request.urlopen(f"{base}/api/v1/rules", timeout=10) as answer:
        groups = json.load(answer)["data"]["groups"]
    sick = [rule for group in groups for rule in group["rules"] if rule["health"] not in ("ok", "unknown")]
    for where, query in left:
        print(f"finds nothing: {where}: {query}")
    for rule in sick:
        print(f"does not evaluate: {rule['name']}: {rule['lastError']}")
    print(f"{len(queries) - len(left)} of {len(queries)} queries find something")
    return 1 if left or sick or not groups else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
