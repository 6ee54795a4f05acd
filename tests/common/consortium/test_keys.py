import stat

import pytest

from fedthorax.common.consortium.keys import (
    new_private_key,
    public_key_text,
    read_private_key,
    write_private_key,
)
from fedthorax.common.consortium.names import checked_hospital_name
from fedthorax.common.ground.names import same_look


def test_a_private_key_is_readable_by_its_owner_alone_and_is_not_replaced(tmp_path):
    path, key = tmp_path / "site.key", new_private_key()
    write_private_key(path, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_key_text(read_private_key(path)) == public_key_text(key)
    with pytest.raises(FileExistsError):
        write_private_key(path, new_private_key())


def test_a_file_that_is_no_key_is_refused_without_a_word_of_its_content(tmp_path):
    (tmp_path / "x").write_text("secret")
    with pytest.raises(ValueError, match="expected an OpenSSH private key") as refusal:
        read_private_key(tmp_path / "x")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("name", ["St. Anna", "北京医院", "Süd-2", "a"])
def test_names_of_hospitals_are_words_of_any_script(name):
    assert checked_hospital_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a  b", ".a", "a/b", "a\\b", 'a"b', "a\nb", "a\u202eb", "u\u0308", "x" * 65, "a=b", "$(a)"]
)
def test_names_that_files_shells_or_readers_could_mistake_are_refused(name):
    with pytest.raises(ValueError, match="hospital name"):
        checked_hospital_name(name)


def test_names_that_a_reader_would_take_for_each_other_are_the_same():
    assert same_look("St. Anna", "ST. ANNA")
    assert same_look("Klinik 2", "Klinik \uff12")
    assert not same_look("St. Anna", "St. Anne")
