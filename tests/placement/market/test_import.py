"""From lines as the catalogues of clouds have them to a price book."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.kinds.problems import ManifestError
from placement.market import listing, revision
from placement.market.accelerators import VARIANTS, product_of
from placement.market.listing import Listed
from placement.market.quotes import Quote, quotes
from placement.money import Price, PriceBook

AWS = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch"
)
GCP = "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice"


def info(name: str, count: float, mib: int) -> str:
    return (
        f"\"{{'Gpus': [{{'Name': '{name}', 'Manufacturer': 'NVIDIA', 'Count': {count}, 'MemoryInfo': "
        f"{{'SizeInMiB': {mib}}}}}], 'TotalGpuMemoryInMiB': {mib}}}\""
    )


def read(header: str, *lines: str, wanted: tuple[str, ...] = ("us-east-1",)) -> tuple[Listed, ...]:
    return listing.read([header, *lines], wanted).lines


def test_the_cheapest_machine_by_its_cards_counts_on_demand_and_on_spot() -> None:
    h100 = info("H100", 8, 81920)
    lines = read(
        AWS,
        f"p5.4xlarge,H100,1.0,16,256,{info('H100', 1, 81920)},6.88,2.0,us-east-1,use1-az1,x86_64",
        f"p5.48xlarge,H100,8.0,192,2048,{h100},55.04,24.0,us-east-1,use1-az4,x86_64",
        f"p5.48xlarge,H100,8.0,192,2048,{h100},48.0,,us-east-1,use1-az6,x86_64",
        f"p5.48xlarge,H100,8.0,192,2048,{h100},8.0,8.0,us-west-2,usw2-az1,x86_64",
        "m5.large,,,2,8,,0.096,0.04,us-east-1,use1-az1,x86_64",
    )
    found = quotes(lines, "us-east-1", "aws")
    assert found.by_product == {"NVIDIA-H100-80GB-HBM3": Quote(6.0, 2.0, "p5.48xlarge")}
    assert quotes(lines, "use1-az1", "aws").by_product["NVIDIA-H100-80GB-HBM3"] == Quote(6.88, 2.0, "p5.4xlarge")


def test_parts_of_cards_and_machines_that_are_not_offered_are_passed_over() -> None:
    lines = read(
        AWS,
        f"g6f.large,L4,0.125,2,8,{info('L4', 0.125, 24576)},0.2,0.1,us-east-1,use1-az1,x86_64",
        f"g6.xlarge,L4,1.0,4,16,{info('L4', 1, 24576)},,0.3,us-east-1,use1-az1,x86_64",
    )
    assert quotes(lines, "us-east-1", "aws").by_product == {}


def test_a_card_that_is_priced_apart_is_paid_with_its_machine() -> None:
    a100, t4 = "{'Gpus': [{'MemoryInfo': {'SizeInMiB': 40960}}]}", "{'Gpus': [{'MemoryInfo': {'SizeInMiB': 16384}}]}"
    lines = read(
        GCP,
        "a2-highgpu-1g,12.0,85.0,,,,us-central1,us-central1-a,0.74,0.37",
        "n1-standard-4,4.0,15.0,,,,us-central1,us-central1-a,0.19,0.04",
        f",,,A100,1,{a100},us-central1,us-central1-a,2.93,1.47",
        f",,,A100,1,{a100},us-central1,us-central1-f,0.5,0.5",  # its machine is not to be had there
        f",,,T4,2,{t4},us-central1,us-central1-a,0.7,0.3",
        ",,,tpu-v6e-8,1,tpu-v6e-8,us-central1,us-central1-a,700,700",
        wanted=("us-central1",),
    )
    found = quotes(lines, "us-central1", "gcp")
    assert found.by_product["NVIDIA-A100-SXM4-40GB"] == Quote(pytest.approx(3.67), pytest.approx(1.84), "a2-highgpu-1g")
    assert found.by_product["Tesla-T4"] == Quote(0.35, 0.15, "", apart=True)
    assert found.unknown == {"tpu-v6e-8": 1}
    by_hand = quotes(lines, "us-central1", "gcp", named={"TPU-v6e-8": "google.com/tpu"})
    assert by_hand.by_product["google.com/tpu"].on_demand_usd_per_gpu_hour == 700


@pytest.mark.parametrize(
    ("accelerator", "memory_gib", "words", "present", "product"),
    [
        ("A100", 40, "p4d.24xlarge a100", (), "NVIDIA-A100-SXM4-40GB"),
        ("A100", 80, "a100", (), "NVIDIA-A100-SXM4-80GB"),
        ("A100-80GB", None, "a100-80gb", (), "NVIDIA-A100-SXM4-80GB"),
        ("A100-80GB", 80, "a100 pcie", (), "NVIDIA-A100-80GB-PCIe"),
        ("A100-80GB", 80, "nc24ads", ("NVIDIA-A100-80GB-PCIe",), "NVIDIA-A100-80GB-PCIe"),
        ("H100", 80, "gpu-h100-sxm_1gpu", ("NVIDIA-H100-PCIe",), "NVIDIA-H100-80GB-HBM3"),
        ("H100", 94, "nc40ads", (), "NVIDIA-H100-NVL"),
        ("H100", None, "", ("NVIDIA-H100-PCIe", "Tesla-T4"), "NVIDIA-H100-PCIe"),
        ("H200", 141, "h200", (), "NVIDIA-H200"),
        ("V100", 32, "v100", (), "Tesla-V100-SXM2-32GB"),
        ("MI300X", 192, "mi300x", (), None),
    ],
)
def test_names_of_catalogues_become_names_of_nodes(
    accelerator: str, memory_gib: float | None, words: str, present: tuple[str, ...], product: str | None
) -> None:
    assert product_of(accelerator, memory_gib, words, present) == product


def test_memory_is_read_whether_it_is_in_mib_or_gib() -> None:
    (mib,) = read(AWS, f"p,A100,1,1,1,{info('A100', 1, 81920)},1,1,us-east-1,z,x")
    (gib,) = read(AWS, f"p,A100,1,1,1,{info('A100 PCIe', 1, 80)},1,1,us-east-1,z,x")
    (none,) = read(AWS, "p,A100,1,1,1,A100,1,1,us-east-1,z,x")
    assert (mib.memory_gib, gib.memory_gib, none.memory_gib) == (80, 80, None)
    assert "pcie" in gib.words


@pytest.mark.parametrize(("price", "said"), [("-1", "'-1'"), ("nan", "'nan'"), ("inf", "'inf'"), ("cheap", "'cheap'")])
def test_a_price_that_can_be_none_is_named_with_its_line(price: str, said: str) -> None:
    with pytest.raises(ManifestError) as refused:
        read(AWS, f"p,H100,1,1,1,,{price},1,us-east-1,z,x", f"p,H100,1,1,1,,{price},1,us-west-2,z,x")
    (problem,) = refused.value.problems
    assert (problem.path, problem.message) == ("line 2, Price", f"{said} is no amount")


def test_a_file_that_is_no_catalogue_is_refused_by_its_columns() -> None:
    with pytest.raises(ManifestError) as refused:
        read("InstanceType,Accelerator,AcceleratorCount,GpuInfo,Price,SpotPrice,Region")
    (problem,) = refused.value.problems
    assert (problem.path, problem.mend) == ("AcceleratorName", "there is Accelerator: rename it")
    with pytest.raises(ManifestError):
        read("")


def test_what_is_not_quoted_stays_and_what_is_keeps_its_interruptions() -> None:
    book = PriceBook({("b", "H100"): Price(4.0, 1.0, 0.05), ("b", "T4"): Price(0.3), ("a", "H100"): Price(9.0)})
    made = revision.changes(book, {"b": {"H100": Quote(5.0, 2.0, "m"), "L4": Quote(0.8, 0.2, "g")}})
    assert [(one.product, one.by_percent, one.is_none) for one in made] == [("H100", 25.0, False), ("L4", None, False)]
    after = revision.revised(book, made, public=("b",))
    assert after.prices == {
        **book.prices,
        ("b", "H100"): Price(5.0, 2.0, 0.05),
        ("b", "L4"): Price(0.8, 0.2, 0.0),
    }
    assert after.public == {"b"}
    again = revision.changes(after, {"b": {"H100": Quote(5.0, 2.0, "m")}})
    assert [one.is_none for one in again] == [True]
    assert revision.changes(after, {"b": {"H100": Quote(5.0, 2.0, "m")}}, 0.2)[0].after == Price(5.0, 2.0, 0.2)


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.floats(0.1, 100), st.none() | st.floats(0.1, 50)), min_size=1)
)
def test_no_machine_is_cheaper_by_its_cards_than_the_quote(machines: list[tuple[int, float, float | None]]) -> None:
    lines = read(
        AWS,
        *(
            f"m{index},T4,{count},1,1,,{price},{'' if spot is None else spot},us-east-1,z,x"
            for index, (count, price, spot) in enumerate(machines)
        ),
    )
    quote = quotes(lines, "us-east-1", "aws").by_product["Tesla-T4"]
    assert quote.on_demand_usd_per_gpu_hour == min(price / count for count, price, _ in machines)
    assert quote.spot_usd_per_gpu_hour == min((s / count for count, _, s in machines if s is not None), default=None)


def test_the_table_is_in_small_letters_and_names_no_product_twice_for_one_accelerator() -> None:
    for name, variants in VARIANTS.items():
        assert name == name.casefold()
        assert len({variant.product for variant in variants}) == len(variants) > 0
