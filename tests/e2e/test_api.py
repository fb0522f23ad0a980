"""The API of the demo keeps to its OpenAPI document, whatever schemathesis asks of it."""

import json
import subprocess

from test_end_to_end import BIN, free_port, get, until

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_the_api_keeps_to_its_document_whatever_it_is_asked():
    url = f"http://127.0.0.1:{free_port()}"
    demo = subprocess.Popen([BIN / "kubehealer", "demo", "--speed", "120", "--listen", url.removeprefix("http://")], stderr=subprocess.DEVNULL)
    try:
        until("some incidents", lambda: json.loads(get(f"{url}/api/v1/incidents"))["total"] > 3)
        # A stream has no end, and so many different questions a second are answered.
        bounds = ["--exclude-path", "/api/v1/events", "--rate-limit", "50/s", "--max-examples", "25", "--max-time", "60"]
        command = ["schemathesis", "run", f"{url}/api/v1/openapi.json", "--checks", CHECKS, *bounds, "--seed", "1", "--no-color"]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout
    finally:
        demo.terminate()
        demo.wait(10)
