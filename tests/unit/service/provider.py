"""An OpenID Connect provider on loopback: discovery, key set, tokens signed with its own keys."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "wholeslide"


class LocalProvider:
    """What a test may turn.

    Attributes:
        issuer: its URL.
        keys: its private keys by id, all of them in its key set.
        extra_jwks: further entries of the key set.
        fetches: how often the key set was asked for.
        away: answer 500 to everything.
        discovery: fields that replace those of the discovery document.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.keys: dict[str, Any] = {"rsa-1": rsa.generate_private_key(65537, 2048)}
        self.extra_jwks: list[Any] = []
        self.fetches = 0
        self.away = False
        self.discovery: dict[str, Any] = {}

    def rotate(self) -> None:
        """A new key takes the place of the old one."""
        self.keys = {"ec-2": ec.generate_private_key(ec.SECP256R1())}

    def token(self, *, kid: str = "", alg: str = "", key: Any = None, **claims: Any) -> str:
        """A token of alice, a pathologist, with these claims besides (``None``: without)."""
        now = time.time()
        body = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "u-17",
            "preferred_username": "alice",
            "iat": now,
            "exp": now + 300,
            "roles": ["pathologist"],
            **claims,
        }
        kid = kid or next(iter(self.keys))
        key = self.keys.get(kid) if key is None else key
        alg = alg or ("ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256")
        present = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(present, key, alg, headers={"kid": kid})

    def document(self, path: str) -> Any:
        """What is under a path; ``None``: nothing."""
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **self.discovery}
        if path == "/keys":
            self.fetches += 1
            return {"keys": [*self.extra_jwks, *map(_jwk, self.keys, self.keys.values())]}
        return None


def _jwk(kid: str, key: Any) -> dict[str, Any]:
    elliptic = isinstance(key, ec.EllipticCurvePrivateKey)
    kind: Any = jwt.algorithms.ECAlgorithm if elliptic else jwt.algorithms.RSAAlgorithm
    data: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    return {**data, "kid": kid, "use": "sig"}


@contextmanager
def local_provider() -> Iterator[LocalProvider]:
    """A provider that listens until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = None if provider.away else provider.document(self.path)
            self.send_response(500 if body is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the output is the tests'."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider = LocalProvider(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
