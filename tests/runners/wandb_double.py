"""A small server in the place of Weights & Biases: speaks its protocol and keeps what it was told."""

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from loopback import answer


@dataclass
class Told:
    """What the server knows of a run."""

    group: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    times_begun: int = 0
    complete: bool = False


class Server(ThreadingHTTPServer):
    """Listens on a free port of this machine while it is entered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, Told] = {}
        self.operations: list[str] = []
        self.lock = threading.Lock()
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves without a word is no error."""

    def __enter__(self) -> "Server":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL operation."""
        answers = {
            "Viewer": self._viewer,
            "ArtifactType": lambda _: {"project": None},
            "ServerFeaturesQuery": lambda _: {"serverInfo": {"features": []}},
            "RunResumeStatus": self._resume,
            "UpsertBucket": self._upsert,
            "CreateRunFiles": self._files,
            "CreateArtifact": lambda _: {"createArtifact": {"artifact": self._artifact()}},
            "CreateArtifactManifest": lambda _: {"createArtifactManifest": self._manifest()},
            "UpdateArtifactManifest": lambda _: {"updateArtifactManifest": self._manifest()},
            "CreateArtifactFiles": self._artifact_files,
            "CommitArtifact": lambda _: {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}},
            "UseArtifact": lambda _: {"useArtifact": {"artifact": {"id": "a"}}},
        }
        return answers[operation](given) if operation in answers else {}

    def _viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        named = {"id": "v", "entity": "us", "username": "us", "email": "us@example.org", "flags": "{}"}
        return {"viewer": {**named, "teams": {"edges": []}}}

    def _resume(self, given: dict[str, Any]) -> dict[str, Any]:
        told = self.runs.get(given["name"])
        model = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "us"}, "bucket": None}
        if told is not None:
            lines = [json.dumps(line) for line in told.history]
            model["bucket"] = {
                **{"id": given["name"], "name": given["name"], "displayName": given["name"], "notes": None},
                **{"summaryMetrics": json.dumps(told.summary), "config": json.dumps(told.config), "tags": []},
                **{"logLineCount": 0, "historyLineCount": len(lines), "eventsLineCount": 0},
                **{"historyTail": json.dumps(lines[-1:]), "eventsTail": "[]", "wandbConfig": '{"t": 1}'},
            }
        return {"model": model}

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        new = given["name"] not in self.runs
        told = self.runs.setdefault(given["name"], Told())
        told.times_begun += 1
        told.group = given.get("groupName") or told.group
        told.config |= json.loads(given.get("config") or "{}")
        project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "us"}}
        bucket = {
            **{"id": given["name"], "name": given["name"], "displayName": given["name"]},
            **{"description": None, "config": json.dumps(told.config), "sweepName": None},
            **{"project": project, "historyLineCount": len(told.history)},
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": new}}

    def _files(self, given: dict[str, Any]) -> dict[str, Any]:
        urls = [
            {"name": name, "uploadUrl": f"{self.address}/upload/{given['run']}/{name}"}
            for name in given["files"]
        ]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": urls}}

    def _artifact(self) -> dict[str, Any]:
        return {"id": "a", "state": "PENDING", "artifactSequence": {"id": "s", "latestArtifact": None}}

    def _manifest(self) -> dict[str, Any]:
        file = {"id": "f", "uploadUrl": f"{self.address}/upload/artifact/manifest", "uploadHeaders": []}
        return {"artifactManifest": {"id": "m", "file": file}}

    def _artifact_files(self, given: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            {
                **{"storagePath": file["name"], "uploadHeaders": [], "uploadMultipartUrls": None},
                **{"uploadUrl": f"{self.address}/upload/artifact/{file['name']}", "artifact": {"id": "a"}},
            }
            for file in given["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def streamed(self, run: str, told: dict[str, Any]) -> None:
        """Take a part of a run's history and summary."""
        known = self.runs.setdefault(run, Told())
        known.complete = known.complete or bool(told.get("complete"))
        for name, part in (told.get("files") or {}).items():
            lines = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                known.history[part["offset"] :] = lines
            elif name == "wandb-summary.json":
                for line in lines:
                    known.summary |= line


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self._body() or b"{}")
        with self.server.lock:
            if self.path == "/graphql":
                named = re.search(r"(?:query|mutation)\s+(\w+)", body["query"])
                operation = named[1] if named else ""
                self.server.operations.append(operation)
                self._reply({"data": self.server.answer(operation, body.get("variables") or {})})
            elif stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
                self.server.streamed(unquote(stream[1]), body)
                self._reply({"limits": {}})
            else:
                self._reply({}, 404)

    def do_PUT(self) -> None:
        body = self._body()
        _, _, run, name = unquote(self.path).split("/", 3)
        with self.server.lock:
            self.server.runs.setdefault(run, Told()).files[name] = body
        self._reply({})

    def do_GET(self) -> None:
        self._reply({})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        return body

    def _reply(self, value: Any, status: int = 200) -> None:
        answer(self, json.dumps(value).encode(), status)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""
