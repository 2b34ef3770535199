"""Pages of other sites: they can neither post to a service without a token, nor read from it by DNS rebinding."""

import contextlib
import http.client
import http.server
import threading

import pytest
from starlette.datastructures import Headers

from chromium import TIMEOUT_MS, launch, needs_chromium
from genreflow.costs.service_process import served
from genreflow.errors import ParameterError
from genreflow.serving.cross_origin import check_host, check_origin
from genreflow.serving.responses import RequestError
from genreflow.serving.settings import Settings
from serving_toy import write_tone, write_toy_bundle
from waiting import wait_for

LOOPBACK = ("127.0.0.1", 3000)
NETWORK = ("192.168.1.5", 3000)


def refusal_of_host(host, server=LOOPBACK, allowed=()):
    headers = Headers({} if host is None else {"host": host})
    try:
        check_host(headers, server, allowed)
    except RequestError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    "host",
    [
        None, "", "localhost", "localhost:3000", "LOCALHOST:3000", "localhost.", "music.localhost:3000",
        "127.0.0.1:3000", "127.0.0.1", "[::1]:3000", "[::1]", "192.168.1.5:3000", "my-machine:3000", "x",
    ],
)  # fmt: skip
def test_names_that_no_other_site_can_have(host):
    for server in (LOOPBACK, ("::1", 3000), ("::ffff:127.0.0.1", 3000), NETWORK, None, ("test", None)):
        assert refusal_of_host(host, server) is None
        assert refusal_of_host(host, server, ("music.example.com",)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:3000", "EVIL.EXAMPLE", "evil.example.", "127.0.0.1.evil.example",
        "localhost.evil.example", "evil.example:80:80", "127.0.0.1@evil.example", "[::1", "xn--e1afmkfd.example",
        "evil.example\x00", "1.2.3",
    ],
)  # fmt: skip
def test_names_of_other_sites(host):
    for server in (LOOPBACK, ("::1", 3000), ("::ffff:127.0.0.1", 3000), ("127.0.1.1", 3000)):
        assert refusal_of_host(host, server) == "forbidden_host"
    # In a container or behind a proxy on another machine, the names are not known.
    assert refusal_of_host(host, NETWORK) is None
    assert refusal_of_host(host, NETWORK, ("music.example.com",)) == "forbidden_host"


@pytest.mark.parametrize(
    ("allowed", "accepted", "refused"),
    [
        ("music.example.com", ["music.example.com", "Music.Example.COM:8443"], ["example.com", "a.music.example.com"]),
        ("*.example.com", ["a.example.com", "a.b.example.com"], ["example.com", "badexample.com", "a.example.org"]),
        (" a.example , B.example,", ["a.example", "b.example"], ["c.example"]),
        ("*", ["evil.example"], []),
    ],
)
def test_allowed_hosts(allowed, accepted, refused):
    names = Settings(allowed_hosts=allowed).host_names
    for host in accepted:
        assert refusal_of_host(host, LOOPBACK, names) is None
        check_origin(Headers({"host": "x", "origin": f"https://{host}"}), names)
        check_origin(Headers({"host": "x", "origin": f"https://{host}", "sec-fetch-site": "cross-site"}), names)
    for host in refused:
        assert refusal_of_host(host, LOOPBACK, names) == "forbidden_host"
        with pytest.raises(RequestError):
            check_origin(Headers({"host": "x", "origin": f"https://{host}"}), names)


@pytest.mark.parametrize("value", ["https://a.example", "a.example:80", "a example", "a/b", "*a.example", "**", "a..b"])
def test_allowed_hosts_are_names(value, monkeypatch):
    monkeypatch.setenv("GENREFLOW_ALLOWED_HOSTS", value)
    with pytest.raises(ParameterError, match="GENREFLOW_ALLOWED_HOSTS"):
        Settings.from_environment()


@pytest.mark.parametrize(
    "headers",
    [
        {},  # curl and other programs
        {"origin": "http://localhost:3000"},
        {"origin": "https://localhost:3000"},  # a proxy terminates TLS
        {"origin": "http://LOCALHOST:3000"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-origin"},
        {"origin": "https://music.example.com", "sec-fetch-site": "same-origin"},  # a proxy does not pass on the host
        {"sec-fetch-site": "none"},
    ],
)
def test_requests_of_the_own_page_and_of_programs(headers):
    check_origin(Headers({"host": "localhost:3000", **headers}), ())


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:8080"},  # another program on this machine
        {"origin": "http://localhost"},
        {"origin": "null"},  # a sandboxed frame, a file
        {"origin": ""},
        {"origin": "file://"},
        {"origin": "http://[::1"},
        {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:8080", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "nonsense"},
    ],
)
def test_requests_of_other_sites(headers):
    with pytest.raises(RequestError) as raised:
        check_origin(Headers({"host": "localhost:3000", **headers}), ())
    assert (raised.value.status, raised.value.code) == (403, "forbidden_origin")


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_tone(tmp_path_factory.mktemp("songs") / "bass.wav", "bass", 3.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return str(write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle").directory)


@pytest.fixture(scope="module")
def service(bundle):
    with served(environment={"GENREFLOW_BUNDLE": bundle}, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def service_with_token(bundle):
    with served(environment={"GENREFLOW_BUNDLE": bundle, "GENREFLOW_TOKEN": "open-sesame"}, watch=False) as service:
        yield service


def status(service, method, path, body=b"", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=300)) as connection:
        connection.request(method, path, body, headers)
        return connection.getresponse().status


PATHS = ["/", "/ui/", "/ui/limits.json", "/docs", "/docs.json", "/metrics", "/schema.json", "/readyz", "/nowhere"]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_read_under_the_name_of_another_site(service, path):
    assert status(service, "GET", path, Host="evil.example") == 403
    assert status(service, "GET", path, Host=f"localhost:{service.port}") in (200, 307, 404)


def test_another_site_cannot_post(service, song):
    head = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
    body = head + song.read_bytes() + b"\r\n--x--\r\n"
    form = {"Content_Type": "multipart/form-data; boundary=x"}
    own = f"http://127.0.0.1:{service.port}"
    assert status(service, "POST", "/classify", body, **form) == 200
    assert status(service, "POST", "/classify", body, Origin=own, **form) == 200
    for path in ("/classify", "/classify_batch", "/model"):
        assert status(service, "POST", path, body, Origin="http://evil.example", **form) == 403
        assert status(service, "POST", path, body, Host="evil.example", Origin="http://evil.example", **form) == 403
    assert status(service, "OPTIONS", "/classify", Origin="http://evil.example") == 405  # preflight
    for code in ("forbidden_origin", "forbidden_host"):  # logged after the response
        wait_for(lambda code=code: f"error={code}" in service.log.read_text())


def test_a_token_protects_under_any_name(service_with_token):
    """Another site does not know it, so that a proxy needs no further setting."""
    other = {"Host": "music.example.com", "Origin": "https://evil.example"}
    assert status(service_with_token, "POST", "/model", **other) == 401
    assert status(service_with_token, "POST", "/model", Authorization="Bearer open-sesame", **other) == 200


POST = """async url => {
    const form = new FormData();
    form.append("audio", new Blob(["words"]), "a.wav");
    return (await fetch(url, {method: "POST", body: form, mode: url.startsWith("/") ? "cors" : "no-cors"})).status;
}"""


class OtherSite(http.server.BaseHTTPRequestHandler):
    """A page of another site."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>other</title>")

    def log_message(self, *arguments):
        pass


@needs_chromium
def test_a_real_browser(service):
    """The page of the service posts; another site cannot post, nor read under a name that it lets resolve to here."""
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtherSite) as other,
        launch("--host-resolver-rules=MAP other.example 127.0.0.1") as browser,
    ):
        threading.Thread(target=other.serve_forever, daemon=True).start()
        try:
            page = browser.new_page()
            page.set_default_timeout(TIMEOUT_MS)
            page.goto(f"{service.url}/ui")
            assert page.evaluate(POST, "/classify") == 415
            refused = service.log.read_text().count("error=forbidden_origin")
            # Sites of other names, and another program on this machine.
            for number, name in enumerate(("other.example", "localhost", "127.0.0.1")):
                page.goto(f"http://{name}:{other.server_port}/")
                page.evaluate(POST, f"{service.url}/classify")
                wait_for(lambda n=refused + number: service.log.read_text().count("error=forbidden_origin") > n)
            response = page.goto(f"http://other.example:{service.port}/ui/")
            assert response.status == 403
            assert page.evaluate(POST, "/classify") == 403
        finally:
            other.shutdown()
