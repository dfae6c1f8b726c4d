"""One form for every refusal, whoever refuses."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from hub.api.schemas import MAX_BULK_BYTES, MAX_MANIFEST_BYTES, ErrorBody
from hub.store.leadership import Deposed
from hub.store.store import OutcomeUnknown, StoreClosed, StoreUnavailable
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub

YAML = {"Content-Type": "application/yaml"}


def error_of(answer: httpx.Response, status: int) -> ErrorBody:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = ErrorBody.model_validate_json(answer.content)
    assert body.error.code
    assert body.error.message
    return body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/jobs"),
        ("POST", "/plan"),
        ("GET", "/jobs"),
        ("GET", "/jobs/x"),
        ("POST", "/jobs/x/cancel"),
        ("GET", "/jobs/x/explain"),
        ("GET", "/jobs/x/logs"),
        ("GET", "/events"),
        ("GET", "/clusters"),
        ("GET", "/clusters/x"),
        ("DELETE", "/clusters/x"),
        ("POST", "/clusters/x/cordon"),
        ("POST", "/clusters/x/uncordon"),
        ("POST", "/clusters/x/drain"),
        ("POST", "/cluster-tokens"),
        ("GET", "/prices"),
        ("PUT", "/prices"),
        ("GET", "/users"),
        ("POST", "/users"),
        ("DELETE", "/users/x"),
        ("GET", "/whoami"),
    ],
)
async def test_without_a_token_there_is_no_answer(as_: As, method: str, path: str) -> None:
    for token, code in (("", "no-token"), ("stolen", "bad-token")):
        answer = await as_(token).request(method, path)
        assert error_of(answer, 401).error.code == code
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "stolen" not in answer.text


async def test_another_scheme_is_no_token(as_: As) -> None:
    answer = await as_("").get("/whoami", headers={"Authorization": "Basic YWxpY2U6"})
    assert error_of(answer, 401).error.code == "no-token"


async def test_problems_name_document_field_and_mend(as_: As) -> None:
    body = error_of(await as_("alice-token").post("/jobs", content=b"bad", headers=YAML), 422)
    assert [(p.document, p.path, p.mend) for p in body.error.problems] == [
        (1, "spec.replicas", "give 0 or more"),
        (2, "metadata.name", "give the object a name"),
    ]


async def test_an_unknown_path_and_a_wrong_method(as_: As) -> None:
    assert "/v1/nothing" in error_of(await as_("alice-token").get("/nothing"), 404).error.message
    answer = await as_("alice-token").put("/jobs/x/explain")
    assert error_of(answer, 405).error.code == "method-not-allowed"
    assert answer.headers["allow"] == "GET"


async def test_content_types_that_are_not_taken(as_: As) -> None:
    client = as_("alice-token")
    for headers in ({"Content-Type": "application/x-www-form-urlencoded"}, {}):
        body = error_of(await client.post("/jobs", content=b"a", headers=headers), 415)
        assert "application/yaml" in body.error.mend


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/users", {"name": "eve", "role": "king"}, "body.role"),
        ("/users", {"name": "eve", "roles": "admin"}, "body.roles"),
        ("/users", {}, "body.name"),
        ("/cluster-tokens", {"name": 7}, "body.name"),
        ("/join", {"token": "t"}, "body.csr_pem"),
    ],
)
async def test_a_body_that_is_not_valid_names_the_field(
    as_: As, path: str, body: dict[str, object], field: str
) -> None:
    error = error_of(await as_("admin-token").post(path, json=body), 422).error
    assert [problem.path for problem in error.problems] == [field]
    assert field in error.message


async def test_a_body_that_is_no_json(as_: As) -> None:
    headers = {"Content-Type": "application/json"}
    error = error_of(await as_("admin-token").post("/users", content=b'{"name"', headers=headers), 422).error
    assert error.mend == "send JSON"


@pytest.mark.parametrize("query", ["limit=0", "limit=5000", "limit=ten", "phase=ASLEEP"])
async def test_query_parameters_out_of_range(as_: As, query: str) -> None:
    error_of(await as_("alice-token").get(f"/jobs?{query}"), 422)


@pytest.mark.parametrize("query", ["namespace=Not_One", "if_too_large=maybe", "dry=perhaps"])
async def test_submit_parameters_out_of_range(as_: As, query: str) -> None:
    error_of(await as_("alice-token").post(f"/jobs?{query}", content=b"a", headers=YAML), 422)


async def test_a_file_of_a_mebibyte_is_taken_and_a_larger_one_is_not(as_: As, hub: FakeHub) -> None:
    client = as_("alice-token")
    full = b"a" + b" " * (MAX_MANIFEST_BYTES - 1)
    assert (await client.post("/jobs", content=full, headers=YAML)).status_code == 201
    assert error_of(await client.post("/jobs", content=full + b" ", headers=YAML), 413).error.code == "too-large"
    as_json = b'{"kind": "' + b"x" * MAX_MANIFEST_BYTES + b'"}'
    error_of(await client.post("/jobs", content=as_json, headers={"Content-Type": "application/json"}), 413)
    assert len(hub.jobs.calls) == 1


async def test_a_bulk_body_may_be_larger_but_not_without_end(as_: As) -> None:
    client = as_("alice-token")
    manifests = {"manifests": ["a" + " " * 500_000 for _ in range(10)]}
    assert (await client.post("/jobs", json=manifests)).status_code == 201
    error_of(await client.post("/jobs", json={"manifests": ["a" + " " * MAX_BULK_BYTES]}), 413)
    error_of(await client.post("/jobs", json={"manifests": ["a", "b" * (MAX_MANIFEST_BYTES + 1)]}), 413)


async def test_a_body_without_a_length_is_counted_as_it_comes(as_: As) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 20
            yield b" " * (1 << 20)

    error_of(await as_("alice-token").post("/jobs", content=endless(), headers=YAML), 413)
    assert sent < 32 << 20


async def test_other_bodies_are_small(as_: As) -> None:
    error_of(await as_("admin-token").post("/users", json={"name": "x" * MAX_MANIFEST_BYTES}), 413)


async def test_an_internal_error_is_an_id_outside_and_the_whole_story_in_the_log(
    as_: As, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "muster.hub.api"):
        answer = await as_("alice-token").post("/jobs", content=b"bug", headers=YAML)
    error = error_of(answer, 500).error
    assert "hunter2" not in answer.text
    assert error.id is not None
    assert error.id in error.message
    (record,) = [one for one in caplog.records if one.exc_info]
    assert error.id in record.getMessage()
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("the connection to the database broke"),
        OutcomeUnknown("it may"),
        Deposed("another"),
        StoreClosed("the store is closed"),
    ],
)
async def test_a_store_that_cannot_now_is_asked_again_later(
    hub: FakeHub, as_: As, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(hub.jobs, "show", broken)
    answer = await as_("alice-token").get("/jobs/x")
    assert error_of(answer, 503).error.mend == "try again in a few seconds"
    assert answer.headers["retry-after"] == "2"
