"""A benchmark's file: each thing that can be wrong with it is one clear line, before anything is loaded."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from lockstep_runner.cells import literal, texts
from lockstep_runner.files import DataError
from lockstep_runner.kit_table import content_digest, images_of, read_table

from orchestrator.layout import PROJECT

COLUMNS = ("question", "answer", "category")


def _make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", PROJECT / "tests" / "fixtures" / "benchmarks" / "make.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _make()


@pytest.fixture
def pope(tmp_path: Path) -> Path:
    return Path(make.write(make.pope(), tmp_path / "POPE.tsv"))


def wrong(path: Path, expected: str, sha256: str = "") -> None:
    with pytest.raises(DataError, match=expected) as caught:
        read_table(path, sha256=sha256, columns=COLUMNS)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message


def changed(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def test_a_right_file(pope: Path) -> None:
    frame = read_table(pope, sha256=hashlib.sha256(pope.read_bytes()).hexdigest(), columns=COLUMNS)
    assert list(frame["answer"]) == ["Yes", "No"] * 5


def test_missing(tmp_path: Path) -> None:
    wrong(tmp_path / "POPE.tsv", "no such file; put it there")


def test_empty(pope: Path) -> None:
    wrong(changed(pope, lambda _: b""), "is empty; get the file again")
    wrong(changed(pope, lambda _: b"index\tquestion\tanswer\tcategory\timage\n"), "has a header and no rows")


def test_another_hash(pope: Path) -> None:
    wrong(pope, "sha256 is [0-9a-f]{12}…, the registry says 000000000000…: not the same file", sha256="0" * 64)


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 5, 40, 100])
def test_truncated_within_the_last_picture(pope: Path, lost: int) -> None:
    wrong(changed(pope, lambda content: content.rstrip()[:-lost]), "is truncated within the picture of its last row")


def test_truncated_before_the_last_columns(pope: Path) -> None:
    wrong(changed(pope, lambda content: content + b"10\tIs there"), "truncated: its last row has 2 of 5 columns")


def test_truncated_within_quotes(pope: Path) -> None:
    wrong(changed(pope, lambda content: content + b'10\t"Is there'), "is truncated within a quoted field")


def test_no_last_newline_is_no_mistake(pope: Path) -> None:
    assert len(read_table(changed(pope, bytes.rstrip), sha256="", columns=COLUMNS)) == 10


def test_not_utf8_names_the_line(pope: Path) -> None:
    wrong(changed(pope, lambda content: content.replace(b"picture 3", b"pictur\xe9 3")), "line 5 is not UTF-8")
    wrong(changed(pope, lambda content: content.replace(b"pictur\xe9 3", b"picture 3") + "é".encode()[:1]), "truncated")


def test_too_many_columns_name_the_line(pope: Path) -> None:
    wrong(
        changed(pope, lambda content: content + b"10\ta\tb\tc\td\te\tf\n"),
        "not a table of tabs: Expected 5 fields in line 12",
    )


def test_wrong_columns_are_named_with_the_close_ones(pope: Path) -> None:
    renamed = changed(pope, lambda content: content.replace(b"answer", b"Answers", 1))
    wrong(renamed, r"has no column 'answer' \(did you mean 'Answers'\?\); it has index, question, Answers, category")
    wrong(
        changed(pope, lambda content: content.replace(b"\timage", b"\tpicture", 1)), "has no column 'image'.*'answer'"
    )


def test_duplicate_ids_name_both_rows(pope: Path) -> None:
    wrong(changed(pope, lambda content: content.replace(b"\n7\t", b"\n2\t")), "rows 3 and 8 have the same index '2'")


@pytest.mark.parametrize("name", ["../2", "/etc/2", "a;b", "exit()", "a\\b"])
def test_ids_are_file_names_and_no_code(pope: Path, name: str) -> None:
    wrong(changed(pope, lambda content: content.replace(b"\n2\t", f"\n{name}\t".encode())), "row 3: index .* cannot be")


def test_a_row_without_index(pope: Path) -> None:
    wrong(changed(pope, lambda content: content.replace(b"\n2\t", b"\n\t")), "row 3 has no index")


def test_an_image_that_is_none(pope: Path) -> None:
    rows = [{**row, "image": "iVBORw0KGgo=" if row["index"] == 4 else row["image"]} for row in make.pope()]
    wrong(make.write(rows, pope), "index 4: image 'iVBORw0KGgo=' is neither a base64 picture")
    rows = [{**row, "image": 4 if row["index"] == 5 else row["image"]} for row in make.pope()]
    frame = read_table(make.write(rows, pope), sha256="", columns=COLUMNS)
    assert images_of(frame)[4] == images_of(frame)[5]


def test_an_image_path_that_leaves_its_folder(pope: Path) -> None:
    for path in ("../a.png", "/etc/passwd", "['a.png', '../b.png']"):
        wrong(
            make.write([{**row, "image_path": path} for row in make.pope()], pope),
            "index 0: image_path .* leaves the image folder",
        )


@pytest.mark.parametrize("column", ["image", "image_path"])
def test_a_cell_that_is_code_is_named_and_not_run(pope: Path, tmp_path: Path, column: str) -> None:
    ran = tmp_path / "ran"
    code = f"[open({str(ran)!r}, 'w').name, {'a' * 80!r}]"
    rows = [{**row, column: code if row["index"] == 3 else row.get(column, "a.png")} for row in make.pope()]
    wrong(make.write(rows, pope), f"index 3: {column} .* cells are not run as Python: correct it")
    assert not ran.exists()


@pytest.mark.parametrize(
    "text", ["['a', 'b']", "['it\\'s', \"x\"]", "[1, 2.5]", "('a',)", "7", "'x'", "{'a': [True, None]}"]
)
def test_values_are_read_as_eval_reads_them(text: str) -> None:
    assert literal(text) == eval(text)


@pytest.mark.parametrize("text", ["[print()]", "x", "1 + 1", "['a'].pop()", "[", "[" * 100_000, "lambda: 0", None, 7.0])
def test_what_is_no_value_is_not_run(text: object) -> None:
    with pytest.raises(ValueError, match="is not run as Python"):
        literal(text)


def test_lists_in_cells() -> None:
    assert texts("['a', 'b']") == ["a", "b"]
    assert texts("[not a list]") == ["[not a list]"]
    assert texts("plain") == ["plain"]


def test_the_content_is_the_same_in_another_order_of_columns_and_quoting(pope: Path, tmp_path: Path) -> None:
    frame = read_table(pope, sha256="", columns=COLUMNS)
    turned = [dict(reversed(row.items())) for row in make.pope()]
    other = read_table(make.write(turned, tmp_path / "b.tsv"), sha256="", columns=COLUMNS)
    quoted = tmp_path / "c.tsv"
    frame.to_csv(quoted, sep="\t", index=False, quoting=1)
    third = read_table(quoted, sha256="", columns=COLUMNS)
    changed_cell = read_table(
        make.write([{**row, "answer": "No"} for row in make.pope()], tmp_path / "d.tsv"), sha256="", columns=COLUMNS
    )
    assert content_digest(frame) == content_digest(other) == content_digest(third) != content_digest(changed_cell)
