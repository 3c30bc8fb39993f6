"""What counts as source, and what as a likely secret."""

from __future__ import annotations

import pytest

from gittrack.git.source_files import is_likely_secret

SECRET_PATHS = """
    .env .env.local x/.env.production prod.env .envrc a.pem a.KEY a.p12 a.pfx id_rsa id_ed25519.pub .netrc .pypirc
    .npmrc credentials credentials.json gcp-credentials.json secret.yaml my_secrets.toml clientSecret.json
    client_secret_1.json .SECRETS x.kdbx service-account-7.json service_account.json .git-credentials .htpasswd
    htpasswd .aws/config.yaml home/.ssh/config.txt .gnupg/x.txt secrets/prod.yaml kaggle.json
"""
PLAIN_PATHS = "train.py .env.example .env.template .env.sample secretary.py tokenizer.json env.py keys.py"


@pytest.mark.parametrize("path", SECRET_PATHS.split())
def test_a_name_of_a_secret_is_known(path: str) -> None:
    assert is_likely_secret(path)


@pytest.mark.parametrize("path", PLAIN_PATHS.split())
def test_a_name_of_no_secret_is_not(path: str) -> None:
    assert not is_likely_secret(path)
