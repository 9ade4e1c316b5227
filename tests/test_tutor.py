"The questions by which the tutor is evaluated: every page and heading that they name exists, and the two halves share nothing."
import shutil
import subprocess

import pytest

from era_nbdev.apps.chunks import sections
from era_nbdev.apps.tutor import anchors, book_sections, page_text
from era_nbdev.apps.tutor_evaluation import read_questions
from era_nbdev.core import book

KINDS = 'test', 'development', 'follow_ups', 'follow_ups_development'
NBS = book.project()/'nbs'


def test_every_page_and_heading_of_the_questions_exists():
    there = {(s.source, heading) for s in book_sections(NBS) for heading in s.heading.split(' › ')}
    named = [(asked.question, tuple(pair)) for kind in KINDS for asked in read_questions(kind) for pair in asked.sections]
    assert len(named) > 200 and all(asked.sections for kind in KINDS for asked in read_questions(kind))
    assert [(question, pair) for question, pair in named if pair not in there] == []


def test_no_question_stands_in_both_halves():
    kinds = [*KINDS, 'unanswerable', 'unanswerable_development']
    asked = [o.before+o.question for kind in kinds for o in read_questions(kind)]
    assert len(asked) == len(set(asked))
    assert len(read_questions('test')) >= 110 and len(read_questions('development')) >= 40
    tested = {page for o in read_questions('test') for page, _ in o.sections}
    assert {page.split('/')[0] for page in book.pages() if '/' in page} == {page.split('/')[0] for page in tested}


@pytest.mark.skipif(not shutil.which('pandoc'), reason='pandoc is not installed')
def test_anchors_are_those_of_pandoc():
    for path in sorted(NBS.glob('*/*.ipynb')):
        found = headings(page_text(path))
        told = subprocess.run(['pandoc', '-f', 'markdown', '-t', 'html'], input='\n\n'.join(f'# {o}' for o in found),
                              capture_output=True, text=True, check=True).stdout
        assert [line.split('id="')[1].split('"')[0] for line in told.splitlines() if '<h1' in line] == anchors(found), path


def headings(text): # lines of a page that are headings
    return [path.split(' › ')[-1] for path, _, _ in sections(text)[1:]]
