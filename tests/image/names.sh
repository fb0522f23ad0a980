#!/usr/bin/env bash
# Does a static program still find a host by name? Only a C library that is loaded can load further ones, so the way from a name to an
# address is tried: in a network of its own, with a name server that knows one name. $1: the root of the image.
set -euo pipefail
mount=$1
if [ "${2:-}" != inside ]; then exec unshare --net bash "$0" "$mount" inside; fi

ip link set lo up
echo "nameserver 127.0.0.1" >"$mount/etc/resolv.conf"
cat >"$mount/tmp/kubeconfig" <<'KUBECONFIG'
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://api.cluster.test:6443"}}]
users: [{name: u, user: {}}]
KUBECONFIG
chmod 0644 "$mount/tmp/kubeconfig"

exec python3 - "$mount" <<'PY'
import http.server, json, os, socket, struct, subprocess, sys, threading

asked, requests = [], []

def names():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, peer = server.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack("!H", query[at + 1 : at + 3])[0]
        asked.append((".".join(labels), kind))
        known = labels == ["api", "cluster", "test"] and kind == 1
        answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1]) if known else b""
        header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(known), 0, 0)
        server.sendto(header + query[12 : at + 5] + answer, peer)

class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        requests.append(self.path)
        body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no"})
        self.send_response(403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass

threading.Thread(target=names, daemon=True).start()
api = http.server.ThreadingHTTPServer(("127.0.0.1", 6443), Api)
threading.Thread(target=api.serve_forever, daemon=True).start()
done = subprocess.run(
    ["chroot", "--userspec=65532:65532", sys.argv[1], "/kubehealer", "diagnose", "-A", "--kubeconfig", "/tmp/kubeconfig"],
    capture_output=True, text=True, timeout=60,
)
assert requests, f"no request came: {done.stderr}\nnames asked for: {asked}"
assert done.returncode == 2, (done.returncode, done.stderr)
print("ok    finds the API server by name")
PY
