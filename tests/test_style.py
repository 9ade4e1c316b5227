"The numbers of style: every page keeps every rule of `era_nbdev.core.style`."
import pytest
from era_nbdev.core import book, style

@pytest.mark.parametrize('page', [page for page in book.pages() if '/' in page])
def test_style(page): assert style.faults(page) == {}
