"The numbers of style: chapters that keep every rule of `era_nbdev.core.style`, and those that keep most."
import pytest
from era_nbdev.core import book, style

# Chapters that keep every rule, in book order. The list only grows: a chapter that stands here is mended, never taken out.
CHAPTERS = '''
foundations/01_neurons
foundations/02_backprop
core/15_style
'''.split()

# Chapters that are to come into the list, with the rules that they do not keep yet. An entry only gets shorter; one without rules moves up.
NOT_YET = {}

@pytest.mark.parametrize('page', CHAPTERS)
def test_style(page): assert style.faults(page) == {}

@pytest.mark.parametrize('page', NOT_YET)
def test_style_so_far(page):
    broken = {rule: places for rule, places in style.faults(page).items() if rule not in NOT_YET[page]}
    assert broken == {}
