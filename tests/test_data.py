"Data sets and the ledger: what is refused, what heals, and what the registry states."
import os

import pytest

from era_nbdev.core import data


def counted(images):
    n_train, channels, _, size = images.x_train.shape
    return data.Info(n_train, len(images.x_test), size, channels, tuple(images.classes))


@pytest.mark.parametrize('name', [d.name for d in data.REGISTRY.values() if d.info])
def test_info_is_what_is_loaded(name):
    if data.find(data.dataset(name)) is None:
        pytest.skip(f'{name} is not on this machine')
    assert data.info(name) == counted(data.load(name))


def test_checksum_reads_the_files_and_a_name_comes_first(tmp_path, monkeypatch):
    "A folder called like a data set is not taken for it, and an edited file changes the checksum."
    monkeypatch.setenv('ERA_DATA', str(tmp_path))
    monkeypatch.setenv('ERA_CACHE', str(tmp_path/'cache'))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(data.DataError, match='not on this machine'):
        data.checksum('names')
    (tmp_path/'names').mkdir()
    with pytest.raises(data.DataError, match='not on this machine'):
        data.checksum('names')
    (tmp_path/'names'/'names.txt').write_text('ada\n', encoding='utf-8')
    before = data.checksum('names')
    (tmp_path/'names'/'names.txt').write_text('eva\n', encoding='utf-8')
    assert data.checksum('names') != before
