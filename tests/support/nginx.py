"""nginx with the manual's own configuration, on ports of this machine, in front of the app."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.manual import block, replaced

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
"""Debian's, which is no package of Python; None where it is not installed."""


@contextmanager
def nginx(folder: Path, *, port: int, plain_port: int, app_port: int, **changes: str) -> Iterator[None]:
    """Run nginx with the manual's configuration for as long as the block lasts.

    ``changes`` are directives with another value, such as ``client_header_timeout="1s"``.
    """
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    server = replaced(
        block("nginx"),
        {
            "listen 80;": f"listen 127.0.0.1:{plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "server_name labels.example.org;": "server_name localhost labels.example.org;",
            "/etc/ssl/certs/labels.pem": str(certificate),
            "/etc/ssl/private/labels.key": str(key),
            "http://127.0.0.1:8501": f"http://127.0.0.1:{app_port}",
        },
    )
    for directive, value in changes.items():
        server, n = re.subn(rf"(?m)^(\s*){directive} [^;]*;", rf"\g<1>{directive} {value};", server)
        assert n == 1, f"the manual no longer has {directive}"
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in paths)
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{server}}}\n"
    )
    command = [str(NGINX), "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)
