"""The nginx example: its syntax, and a real service behind it with TLS."""

import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from genreflow.costs.service_process import reserved_port, served
from serving_toy import write_tone, write_toy_bundle
from waiting import wait_for

CONFIG = Path(__file__).resolve().parents[1] / "deploy/nginx/genreflow.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
HOST = "music.example.com"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)"),
]


def write_config(folder: Path, *, service: int, http: int, https: int) -> Path:
    """Write the example with ports and a certificate of this test, and a main configuration that includes it."""
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={HOST}"]
    certificate += ["-addext", f"subjectAltName=DNS:{HOST}", "-keyout", "privkey.pem", "-out", "fullchain.pem"]
    subprocess.run(certificate, cwd=folder, check=True, capture_output=True)
    text = CONFIG.read_text()
    for old, new in (
        ("127.0.0.1:3000;", f"127.0.0.1:{service};"),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen 443 ", f"listen 127.0.0.1:{https} "),
        (f"/etc/letsencrypt/live/{HOST}", str(folder)),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "genreflow.conf").write_text(text)
    temporary = "\n".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    # As root, nginx would run its workers as a user who cannot read the folder of a test.
    main.write_text(
        f"user root; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{ access_log off; {temporary}\ninclude {folder}/genreflow.conf; }}\n"
    )
    return main


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_service_behind_the_example(bento_home, tmp_path):
    bundle = write_toy_bundle(tmp_path / "bundle").directory
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_BUNDLE": str(bundle), "GENREFLOW_ALLOWED_HOSTS": HOST}
    song = write_tone(tmp_path / "bass.wav", "bass", 60.0, rate=44100, channels=2)  # over nginx's own limit of 1 MB
    with (
        reserved_port() as http,
        reserved_port() as https,
        served("genre-classifier:latest", environment=environment, watch=False) as service,
    ):
        main = write_config(tmp_path, service=service.port, http=http, https=https)
        checked = subprocess.run([NGINX, "-t", "-c", main], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "[warn]" not in re.sub(r'the "user" directive.*', "", checked.stderr)
        nginx = subprocess.Popen([NGINX, "-c", main])
        context = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))
        try:
            wait_for(lambda: listens(https))
            extensions = {"sni_hostname": HOST}
            with httpx.Client(base_url=f"https://127.0.0.1:{https}", verify=context, timeout=300) as client:

                def call(method: str, path: str, **rest) -> httpx.Response:
                    rest["headers"] = {"Host": HOST} | rest.get("headers", {})
                    return client.request(method, path, extensions=extensions, **rest)

                answer = call("POST", "/classify", files={"audio": song.open("rb")})
                assert (answer.status_code, answer.json()["genre"]) == (200, "bass")
                assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
                wait_for(lambda: answer.headers["x-request-id"] in service.log.read_text())
                assert call("GET", "/ui/").status_code == 200
                assert call("GET", "/ui", follow_redirects=True).status_code == 200
                # The page of the same site may post, one of another site may not.
                page = {"Sec-Fetch-Site": "same-origin", "Origin": f"https://{HOST}"}
                sent = {"audio": song.open("rb")}
                assert call("POST", "/classify", files=sent, headers=page).status_code == 200
                other = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example.com"}
                assert call("POST", "/model", headers=other).status_code == 403
                for hidden in ("/metrics", "/readyz", "/schema.json"):
                    assert call("GET", hidden).status_code == 404
            moved = httpx.get(f"http://127.0.0.1:{http}/ui", headers={"Host": HOST}, timeout=300)
            assert (moved.status_code, moved.headers["location"]) == (301, f"https://{HOST}/ui")
        finally:
            nginx.terminate()
            nginx.wait(300)
