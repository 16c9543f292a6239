"""Files and folders appear whole or not at all."""

import errno

import pytest

from graticule.errors import OutputError
from graticule.files import whole_file, whole_folder


def test_a_file_appears_under_its_name_with_its_content(tmp_path):
    with whole_file(tmp_path / "deep" / "a.txt") as temporary:
        temporary.write_text("content")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert (tmp_path / "deep" / "a.txt").read_text() == "content"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_one_line_with_the_remedy(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*a\.txt: the disk is full; free some space"):  # noqa: SIM117
        with whole_file(tmp_path / "a.txt"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "old").touch()
    with pytest.raises(OutputError, match="exists already"), whole_folder(tmp_path / "store"):
        pass
    with whole_folder(tmp_path / "store", overwrite=True) as temporary:
        (temporary / "new").touch()
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_a_broken_folder_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "store") as temporary:
        (temporary / "half").touch()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
