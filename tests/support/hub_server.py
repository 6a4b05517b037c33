"""A small server that speaks the hub's protocol for the files of datasets."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Collection, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class HubServer:
    """Serves `/datasets/<repo>/resolve/<revision>/<filename>` and the API that lists files.

    Args:
        files: Content by (repo id, commit, filename).
        branches: Commit by (repo id, branch); a commit is a revision of its own.
        gated: Repositories whose terms nobody has accepted.

    Attributes:
        url: For `HF_ENDPOINT`.
        asked: The paths of datasets' files that were asked for.
    """

    def __init__(
        self,
        files: Mapping[tuple[str, str, str], bytes],
        branches: Mapping[tuple[str, str], str] | None = None,
        gated: Collection[str] = (),
    ) -> None:
        self.asked: list[str] = []
        self.files, self.branches, self.gated = dict(files), dict(branches or {}), set(gated)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def send(self, status: int, content: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                if path.startswith("/datasets/"):  # the client has questions of its own too
                    outer.asked.append(path)
                if file := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                    self.file(*file.groups())
                elif found := re.fullmatch(
                    r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(/.*)?)?",
                    path,
                ):
                    self.listing(*found.groups())
                else:
                    self.send(404)

            do_HEAD = do_GET
            do_POST = do_GET

            def commit(self, repo: str, revision: str) -> str:
                """The commit of a revision; empty, with the hub's answer sent, without one."""
                if repo in outer.gated:
                    self.send(401, X_Error_Code="GatedRepo")
                elif not any(repo == each for each, *_ in outer.files):
                    self.send(401, X_Error_Code="RepoNotFound")
                else:
                    commit = outer.branches.get((repo, revision), revision)
                    if any((repo, commit) == key[:2] for key in outer.files):
                        return commit
                    self.send(404, X_Error_Code="RevisionNotFound")
                return ""

            def file(self, repo: str, revision: str, name: str) -> None:
                if not (commit := self.commit(repo, revision)):
                    return
                content = outer.files.get((repo, commit, name))
                if content is None:
                    self.send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
                else:
                    tag = f'"{hashlib.sha1(content).hexdigest()}"'
                    self.send(200, content, X_Repo_Commit=commit, ETag=tag)

            def listing(self, repo: str, what: str | None, revision: str, under: str) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size).decode()
                if not (commit := self.commit(repo, revision or "main")):
                    return
                names = {n: c for (r, at, n), c in outer.files.items() if (r, at) == (repo, commit)}
                files = [
                    {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                    for name, content in names.items()
                ]
                if what == "paths-info":
                    asked = (
                        json.loads(body)["paths"] if body[:1] == "{" else parse_qs(body)["paths"]
                    )
                    files = [each for each in files if each["path"] in asked]
                elif what == "tree":
                    prefix = f"{under.strip('/')}/" if under else ""
                    files = [each for each in files if str(each["path"]).startswith(prefix)]
                    inner = [str(each["path"]).removeprefix(prefix).split("/") for each in files]
                    folders = sorted({prefix + parts[0] for parts in inner if len(parts) > 1})
                    if "recursive=true" not in self.path.lower():
                        files = [
                            f for f, parts in zip(files, inner, strict=True) if len(parts) == 1
                        ]
                    files += [{"type": "directory", "path": p, "oid": "0" * 40} for p in folders]
                found: Any = files
                if what in (None, "revision"):
                    siblings = [{"rfilename": name} for name in names]
                    found = {"id": repo, "sha": commit, "siblings": siblings, "tags": []}
                self.send(200, json.dumps(found).encode(), Content_Type="application/json")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
