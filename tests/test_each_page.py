"Each page is tested in a process of its own: it leaves nothing behind, and a page that dies takes no other with it."
import json, os
import pytest
from era_nbdev.each_page import apart

@pytest.mark.parametrize('code, passes', [("import os; os.environ['LEFT_BEHIND'] = '1'", True), ('assert False', False), ('import os; os._exit(3)', False)])
def test_a_page_has_a_process_of_its_own(tmp_path, code, passes):
    cell = dict(cell_type='code', id='a1', metadata={}, execution_count=None, outputs=[], source=[code])
    page = tmp_path/'page.ipynb'
    page.write_text(json.dumps(dict(cells=[cell], metadata={}, nbformat=4, nbformat_minor=5)))
    assert apart(page)[0] is passes
    assert 'LEFT_BEHIND' not in os.environ
