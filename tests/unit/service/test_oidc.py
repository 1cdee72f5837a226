"""Tokens of a real provider on loopback, against the whole API."""

import base64
import logging
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient
from pydantic import ValidationError

from service.auth import oidc
from service.auth.roles import Role
from service.settings import Settings
from tests.support.apps import app_for
from tests.unit.service.provider import AUDIENCE, LocalProvider, local_provider
from tests.unit.service.test_access import bearer, context_of


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with local_provider() as provider:
        yield provider


@pytest.fixture
def oidc_settings(settings: Settings, provider: LocalProvider) -> Settings:
    return Settings(
        **{
            **settings.model_dump(),
            "auth": "on",
            "oidc_issuer": provider.issuer,
            "oidc_audience": AUDIENCE,
            "sign_in_limit": "",
        }
    )


@pytest.fixture
def guarded(oidc_settings: Settings) -> Iterator[TestClient]:
    with TestClient(
        app_for(oidc_settings),
        base_url="http://localhost/api/v1/",
        raise_server_exceptions=False,
    ) as client:
        yield client


def status(client: TestClient, token: str) -> int:
    return client.get("slides", headers=bearer(token)).status_code


def test_a_token_gives_the_role_it_names_and_keys_go_on_working(
    guarded: TestClient, provider: LocalProvider
) -> None:
    me = guarded.get("session", headers=bearer(provider.token()))
    assert (me.json()["name"], me.json()["role"]) == ("alice", "pathologist")
    assert guarded.get("keys", headers=bearer(provider.token())).status_code == 403
    several = provider.token(roles=["viewer", "admin", "something else"])
    assert guarded.get("keys", headers=bearer(several)).status_code == 200
    _, key = context_of(guarded).keys.make("robot", Role.VIEWER)
    assert guarded.get("session", headers=bearer(key)).json()["name"] == "robot"
    assert provider.fetches == 1


def test_a_token_without_a_role_is_told_so(guarded: TestClient, provider: LocalProvider) -> None:
    for roles in (None, [], ["janitor"], "janitor", {"admin": True}, [["admin"]], 7):
        answer = guarded.get("slides", headers=bearer(provider.token(roles=roles)))
        assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden")
        assert "alice has no role here" in answer.json()["detail"]


def test_groups_inside_other_claims_are_mapped_to_roles(
    oidc_settings: Settings, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSI_OIDC_ROLES", "cn=readers,ou=path=pathologist; chiefs=admin")
    mapped = Settings(auth="on", oidc_issuer=provider.issuer, oidc_audience=AUDIENCE)
    update = {"oidc_roles_claim": "realm.groups", "oidc_roles": mapped.oidc_roles}
    app = app_for(oidc_settings.model_copy(update=update))
    with TestClient(app, base_url="http://localhost/api/v1/") as client:

        def role(*groups: str) -> str:
            token = provider.token(roles=["admin"], realm={"groups": groups})
            return str(client.get("session", headers=bearer(token)).json().get("role"))

        assert role("cn=readers,ou=path") == "pathologist"
        assert role("cn=readers,ou=path", "chiefs") == "admin"
        assert role("admin") == "None"


def hs256_with_public_key(provider: LocalProvider) -> str:
    """The classic confusion: the public key, which all know, used as the secret of an HMAC."""
    public = provider.keys["rsa-1"].public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = provider.token().split(".")[1]
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa-1"}').rstrip(b"=").decode()
    signed = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{header}.{claims}".encode(), pem
    )
    return f"{header}.{claims}.{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"


FORGERIES: dict[str, Any] = {
    "expired": lambda p: p.token(exp=time.time() - 60),
    "not yet": lambda p: p.token(nbf=time.time() + 600),
    "for somebody else": lambda p: p.token(aud="another"),
    "of another issuer": lambda p: p.token(iss="https://evil.example"),
    "without an end": lambda p: p.token(exp=None),
    "without an owner": lambda p: p.token(sub=None),
    "for nobody": lambda p: p.token(aud=None),
    "signed by a stranger": lambda p: p.token(key=rsa.generate_private_key(65537, 2048)),
    "of an unknown key": lambda p: p.token(kid="x", key=rsa.generate_private_key(65537, 2048)),
    "unsigned": lambda p: p.token(alg="none", key=""),
    "by the public key": hs256_with_public_key,
    "another of the key's algorithms": lambda p: p.token(alg="PS512"),
    "claims exchanged": lambda p: ".".join(
        [
            *p.token().split(".")[:1],
            p.token(roles=["admin"]).split(".")[1],
            p.token().split(".")[2],
        ]
    ),
    "no token": lambda p: "x.y.z",
    "nothing": lambda p: "x",
    "deep": lambda p: base64.urlsafe_b64encode(b"[" * 6000).decode() + ".x.x",
    "long": lambda p: p.token(padding="x" * 20_000),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_token_that_is_not_valid_opens_nothing(
    guarded: TestClient, provider: LocalProvider, name: str
) -> None:
    token = FORGERIES[name](provider)
    answer = guarded.get("slides", headers=bearer(token))
    assert (answer.status_code, answer.json()["kind"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert token not in answer.text
    assert status(guarded, provider.token()) == 200


def test_after_a_change_of_keys_the_new_one_is_fetched(
    guarded: TestClient, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "_ASK_AGAIN_S", 0.0)
    old = provider.token()
    assert status(guarded, old) == 200
    provider.rotate()
    assert status(guarded, provider.token()) == 200
    # A key that the provider gave up is given up here.
    assert status(guarded, old) == 401


def test_unknown_keys_do_not_make_the_service_ask_again_and_again(
    guarded: TestClient, provider: LocalProvider
) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    for number in range(20):
        assert status(guarded, provider.token(kid=f"k{number}", key=stranger)) == 401
    assert provider.fetches == 1


def test_a_provider_that_is_away_is_a_503_and_known_keys_go_on(
    guarded: TestClient, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.away = True
    answer = guarded.get("slides", headers=bearer(provider.token()))
    assert (answer.status_code, answer.json()["kind"]) == (503, "identity_provider_unavailable")
    assert answer.headers["retry-after"] == "5"
    provider.away = False
    # It is not asked again at once: every request would wait for it.
    assert status(guarded, provider.token()) == 503
    monkeypatch.setattr(oidc, "_RETRY_S", -10.0)
    monkeypatch.setattr(oidc, "_ASK_AGAIN_S", -10.0)
    context_of(guarded).authenticator._tokens._keys._ask_at = 0.0  # type: ignore[union-attr]
    assert status(guarded, provider.token()) == 200
    provider.away = True
    assert status(guarded, provider.token()) == 200
    assert status(guarded, provider.token(kid="new", key=provider.keys["rsa-1"])) == 503
    assert guarded.get("health").status_code == 200


def test_keys_are_forgotten_after_an_hour(
    guarded: TestClient, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(guarded, provider.token()) == 200
    monkeypatch.setattr(oidc, "_KEYS_LAST_S", -1.0)
    monkeypatch.setattr(oidc, "_ASK_AGAIN_S", 0.0)
    context_of(guarded).authenticator._tokens._keys._ask_at = 0.0  # type: ignore[union-attr]
    provider.away = True
    assert status(guarded, provider.token()) == 503


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://keys.example/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
        {"jwks_uri": "https://[broken"},
    ],
)
def test_a_discovery_document_that_leads_elsewhere_is_not_followed(
    guarded: TestClient, provider: LocalProvider, discovery: dict[str, Any]
) -> None:
    provider.discovery = discovery
    assert status(guarded, provider.token()) == 503


def test_keys_of_other_kinds_in_the_set_do_no_harm(
    guarded: TestClient, provider: LocalProvider
) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 32).decode().rstrip("=")
    provider.extra_jwks = [
        {"kty": "oct", "k": secret, "kid": "shared", "alg": "HS256"},
        {"kty": "future", "kid": "f"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "use": "enc", "kid": "enc"},
        "no key",
    ]
    assert status(guarded, provider.token()) == 200
    assert status(guarded, provider.token(kid="shared", alg="HS256", key="s" * 32)) == 401


def test_the_audit_log_tells_apart_who_takes_anothers_name(
    guarded: TestClient, provider: LocalProvider
) -> None:
    guarded.post("jobs/x/cancel", headers=bearer(provider.token()))
    false = provider.token(sub="u-99", preferred_username="al\nice\x00", roles=["admin"])
    entries = guarded.get("audit", headers=bearer(false)).json()
    entries = guarded.get("audit", headers=bearer(false)).json()
    assert [entry["who"] for entry in entries] == [
        "alice (token of u-99)",
        "alice (token of u-17)",
    ]


def test_a_token_never_reaches_the_log(
    guarded: TestClient, provider: LocalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good, bad = provider.token(), provider.token(aud="another")
    assert (status(guarded, good), status(guarded, bad)) == (200, 401)
    for token in (good, bad):
        assert all(part not in caplog.text for part in token.split(".")[1:])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"oidc_audience": ""}, "WSI_OIDC_AUDIENCE"),
        ({"auth": "off"}, "WSI_AUTH=on"),
        ({"oidc_issuer": "http://idp.example"}, "https://"),
        ({"oidc_issuer": "idp.example"}, "https://"),
        ({"oidc_roles": "chiefs=king"}, "'king' is no role"),
        ({"oidc_roles": "chiefs"}, "'chiefs' is no role"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(
    oidc_settings: Settings, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        Settings(**{**oidc_settings.model_dump(), **change})


def test_a_message_about_settings_holds_none_of_them(
    oidc_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSI_DATABASE_URL", "postgresql://wsi:pa55word@db/wsi")
    monkeypatch.setenv("WSI_OIDC_ISSUER", "https://idp.example")
    with pytest.raises(ValidationError, match="WSI_OIDC_AUDIENCE") as caught:
        Settings()
    assert "pa55word" not in str(caught.value)


def test_a_browser_with_a_proxys_token_is_not_sent_to_the_form(
    guarded: TestClient, provider: LocalProvider
) -> None:
    root = "http://localhost/"
    answer = guarded.get(root, headers=bearer(provider.token()), follow_redirects=False)
    assert answer.status_code != 303
