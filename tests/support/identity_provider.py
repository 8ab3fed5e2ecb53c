"""An identity provider on this machine: OpenID Connect as far as one sign-in goes, for anyone a test names."""

import json
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "labeltransfer", "not-a-secret"


class IdentityProvider(ThreadingHTTPServer):
    """Asks nothing: signs in ``person``, an e-mail address."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.person = ""
        self.key = RSAKey.generate_key(2048, {"kid": "1"})
        self.codes: dict[str, tuple[str, str]] = {}
        """Code to the person and the nonce that it was given for; each is good for one use."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile"],
        }

    def secrets(self, app_url: str) -> str:
        """The app's secrets.toml for signing in here."""
        return (
            f'[auth]\nredirect_uri = "{app_url}/oauth2callback"\ncookie_secret = "of a test, forty characters of it"\n'
            f'client_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n'
            f'server_metadata_url = "{self.url}/.well-known/openid-configuration"\n'
        )

    def token(self, code: str) -> dict[str, Any]:
        """What a code is exchanged for."""
        person, nonce = self.codes.pop(code)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": person,
            "email": person,
            "email_verified": True,
            "iat": now,
            "exp": now + 600,
        }
        claims |= {"nonce": nonce} if nonce else {}
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key)
        return {"access_token": "unused", "token_type": "Bearer", "expires_in": 600, "id_token": signed}


class _Answers(BaseHTTPRequestHandler):
    server: IdentityProvider

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/.well-known/openid-configuration":
            self._json(self.server.metadata)
        elif address.path == "/keys":
            self._json({"keys": [self.server.key.as_dict(private=False)]})
        elif address.path == "/authorize" and asked["client_id"] == CLIENT:
            code = f"code{time.monotonic_ns()}"
            self.server.codes[code] = (self.server.person, asked.get("nonce", ""))
            self.send_response(302)
            back = urlencode({"code": code, "state": asked["state"]})
            self.send_header("Location", f"{asked['redirect_uri']}?{back}")
            self.end_headers()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        named = self.headers.get("Authorization", "").removeprefix("Basic ")
        known = [unquote(part) for part in b64decode(named).decode().split(":")] == [CLIENT, SECRET]
        if self.path == "/token" and known and form["code"][0] in self.server.codes:
            self._json(self.server.token(form["code"][0]))
        else:
            self.send_error(401)

    def _json(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """It answers for as long as the block lasts."""
    provider = IdentityProvider()
    thread = Thread(target=provider.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.shutdown()
        provider.server_close()
        thread.join()
