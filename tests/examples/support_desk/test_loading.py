"""Loading a folder: all of it or nothing, as often as one likes, and one clear line when it cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from examples.support_desk import orders
from examples.support_desk.cases import read_cases
from examples.support_desk.demo_shop import DEMO_SHOP
from examples.support_desk.desk import Desk
from examples.support_desk.folder import BadData
from examples.support_desk.loading import load
from examples.support_desk.models import Customer, Order, Product


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "users.json", DEMO_SHOP.customers)
    write(tmp_path / "products.json", DEMO_SHOP.products)
    write(tmp_path / "orders.json", DEMO_SHOP.orders)
    return tmp_path


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def spoil(folder: Path, name: str, number: str, **fields: Any) -> None:
    records = json.loads((folder / name).read_text())
    records[number] |= fields
    write(folder / name, records)


@pytest.mark.django_db
class TestLoad:
    def test_it_works(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("support_desk", "load", "--data", str(folder))

        assert (Product.objects.count(), Customer.objects.count(), Order.objects.count()) == (4, 5, 10)
        said = capsys.readouterr().out
        assert "orders: 10 of 10" in said
        assert "customers: 5 new, 0 as they were" in said

    def test_it_can_be_repeated(self, folder: Path) -> None:
        load(folder)

        assert [result.sentence for result in load(folder)] == [
            "products: 0 new, 4 as they were",
            "customers: 0 new, 5 as they were",
            "orders: 0 new, 10 as they were",
        ]
        assert Order.objects.count() == 10

    def test_it_leaves_alone_what_has_changed_since(self, folder: Path) -> None:
        load(folder)
        desk = Desk()
        orders.cancel(desk, "#H1008", "no longer needed")
        desk.keep("k1")

        assert load(folder)[2].differing == ["#H1008"]
        assert Desk().order("#H1008").status == "cancelled"

    def test_it_puts_back_what_has_changed_when_told_to(self, folder: Path) -> None:
        load(folder)
        desk = Desk()
        orders.cancel(desk, "#H1008", "no longer needed")
        desk.keep("k1")
        load(folder, replace=True)

        assert Desk().order("#H1008").status == "pending"
        assert Order.objects.count() == 10

    @pytest.mark.parametrize(
        ("name", "number", "fields", "why"),
        [
            ("orders.json", "#H1001", {"status": "lost"}, "orders.json does not hold .*#H1001.status"),
            ("orders.json", "#H1001", {"items": [{"name": "cup"}]}, "#H1001.items.0.product_id is missing"),
            ("orders.json", "#H1001", {"user_id": "nobody"}, "#H1001 is nobody's, who is not in users.json"),
            ("orders.json", "#H1001", {"order_id": "#H1"}, "calls itself #H1"),
            ("orders.json", "#H1001", {"colour": "red"}, "#H1001.colour is not known here"),
            ("users.json", "maya_lind", {"orders": ["#H0"]}, "maya_lind has order #H0"),
            ("products.json", "p-cup", {"product_id": "p-mug"}, "calls itself p-mug"),
        ],
    )
    def test_it_refuses_records_that_cannot_be_right(
        self, folder: Path, name: str, number: str, fields: dict[str, Any], why: str
    ) -> None:
        spoil(folder, name, number, **fields)
        with pytest.raises(BadData, match=why):
            load(folder)
        assert not Product.objects.exists()

    def test_it_refuses_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(
            CommandError, match=r"folder .*nowhere does not exist.*--data DIR.*Nothing was changed"
        ):
            call_command("support_desk", "load", "--data", str(tmp_path / "nowhere"))

    def test_it_refuses_a_file_that_is_missing(self, folder: Path) -> None:
        (folder / "orders.json").unlink()
        with pytest.raises(BadData, match=r"orders.json is missing"):
            load(folder)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (b'{"a": ', "is not JSON: .* line 1, column 7"),
            (b'{"a": 1, "a": 2}', "'a' is there twice"),
            (b"\xff\xfe", "not text in UTF-8"),
            (b"[]", "should be an object"),
            (b'{"#H1": NaN}', "NaN is not a number"),
            (b"[" * 100_000, "is not JSON"),
        ],
    )
    def test_it_refuses_a_file_that_is_not_json(self, folder: Path, text: bytes, why: str) -> None:
        (folder / "orders.json").write_bytes(text)
        with pytest.raises(BadData, match=why):
            load(folder)
        assert not Customer.objects.exists()


class TestReadCases:
    CASE = {"task_id": "t1", "customer_id": "maya_lind", "request": "…", "calls": [], "expected_changes": {}}

    def test_it_works(self, tmp_path: Path) -> None:
        path = tmp_path / "cases.jsonl"
        path.write_text(f"{json.dumps(self.CASE)}\n\n{json.dumps(self.CASE | {'task_id': 't2'})}\n")

        assert [case.task_id for case in read_cases(path)] == ["t1", "t2"]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "holds no case"),
            ("{}\n", "line 1 is not a case: task_id is missing .and 4 more"),
            ('{"task_id": \n', "line 1 is not JSON"),
            (json.dumps(CASE) + "\n" + json.dumps(CASE), "holds task_id t1 twice"),
        ],
    )
    def test_it_refuses(self, tmp_path: Path, text: str, why: str) -> None:
        path = tmp_path / "cases.jsonl"
        path.write_text(text)
        with pytest.raises(BadData, match=why):
            read_cases(path)
