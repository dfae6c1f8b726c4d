from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hub.api.model_schemas import ModelOut, ModelStorageOut, VariantOut, VersionOut
from hub.cli import model_tables
from tests.hub.cli.test_tables import drawn

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def variant(name: str, **more: object) -> VariantOut:
    made = VariantOut(
        name=name,
        digest="sha256:" + "ab" * 32,
        commit="ab" * 20,
        size=16_100_000_000,
        files=12,
        pickles=False,
        requires={},
        measured={},
        pushed_at=NOW - timedelta(hours=5),
        pushed_by="alice",
    )
    return made.model_copy(update=more)


MODEL = ModelOut(
    tenant="",
    name="org/llama",
    created_at=NOW - timedelta(days=9),
    created_by="alice",
    aliases={"champion": 1, "staging": 2},
    versions=[
        VersionOut(
            number=1,
            created_at=NOW,
            created_by="alice",
            variants=[
                variant(
                    "default",
                    requires={
                        "accelerator": "nvidia",
                        "compute-capability": "8.0",
                        "vram": str(16 << 30),
                        "runtime": "vllm",
                        "runtime-versions": ">=0.6,<1",
                    },
                    measured={"quality": "0.712", "memory": "16000000000"},
                ),
                variant("int8", pickles=True),
            ],
        ),
        VersionOut(number=2, created_at=NOW, created_by="alice", variants=[variant("default")]),
    ],
)


def test_the_list_has_the_newest_and_the_aliases() -> None:
    shown = drawn(model_tables.models([MODEL], NOW), 80)
    assert "org/llama  (everybody)       2  16.1 GB  champion=1, staging=2      5h" in shown


def test_nothing_of_what_a_variant_needs_is_lost_on_a_narrow_screen() -> None:
    for columns in (80, 140):
        words = " ".join(drawn(model_tables.model(MODEL, NOW), columns).split())
        for part in ("nvidia ≥ 8.0", "of VRAM", ">=0.6,<1", "quality", "0.712", "runs code", "champion = 1"):
            assert part in words, columns
    assert "nvidia ≥ 8.0, 17.2 GB of VRAM, vllm >=0.6,<1; quality 0.712, memory 16 GB" in drawn(
        model_tables.model(MODEL, NOW), 160
    )


def test_what_is_stored() -> None:
    one = ModelStorageOut(chunks=40_000, stored=60 * 10**9, named=150 * 10**9, unused=10**9, garbage=1, models=4)
    shown = drawn(model_tables.storage(one), 80)
    assert "150 GB, 2.5 times what is stored" in shown
    assert "1 object\n" in shown.replace("object ", "object\n")
    empty = ModelStorageOut(chunks=0, stored=0, named=0, unused=0, garbage=0, models=0)
    assert "times" not in drawn(model_tables.storage(empty), 80)
