from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.pki import BACKDATED, Authority
from spoke import identity
from spoke.identity import BadIdentity, Identity

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "hub", NOW)


def made(authority: Authority, cluster: str = "edge-c") -> Identity:
    key_pem, csr_pem = identity.new_request()
    certificate_pem = authority.sign_spoke(csr_pem, cluster, NOW).pem
    return identity.assemble(key_pem, certificate_pem, authority.ca_pem, "hub:7443")


def test_it_is_saved_whole_and_for_its_owner(tmp_path: Path, authority: Authority) -> None:
    assert identity.load(tmp_path / "state") is None
    own = made(authority)
    identity.save(tmp_path / "state", own)
    assert identity.load(tmp_path / "state") == own
    assert own.cluster == "edge-c"
    path = tmp_path / "state" / identity.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_renewal_is_due_at_two_thirds(authority: Authority) -> None:
    certificate = made(authority).certificate
    life = timedelta(hours=24) + BACKDATED
    assert identity.renew_at(certificate) == NOW - BACKDATED + life * 2 / 3
    assert not identity.must_join_again(certificate, NOW + timedelta(hours=23, minutes=59))
    assert identity.must_join_again(certificate, NOW + timedelta(hours=24))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"key_pem": "", "certificate_pem": "", "ca_pem": ""}'])
def test_a_damaged_file_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / identity.FILE).write_bytes(content)
    with pytest.raises(BadIdentity):
        identity.load(tmp_path)


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path, authority: Authority) -> None:
    own, other = made(authority), made(authority)
    with pytest.raises(BadIdentity, match="another key"):
        identity.assemble(other.key_pem, own.certificate_pem, own.ca_pem)
    foreign = Authority.open(tmp_path / "foreign", NOW)
    with pytest.raises(BadIdentity):
        identity.assemble(own.key_pem, own.certificate_pem, foreign.ca_pem)
    server = authority.server_certificate(["localhost"], NOW)
    with pytest.raises(BadIdentity):
        identity.assemble(server.key_pem, server.certificate_pem, authority.ca_pem)
