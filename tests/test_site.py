"What the website and the EPUB add to the notebooks: numbers, links of names, links between chapters, pages made from the ledger."
import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from era_nbdev.core import book

ROOT = Path(__file__).parent.parent
NBS = ROOT/'nbs'
needs_pandoc = pytest.mark.skipif(not shutil.which('pandoc'), reason='pandoc is not installed')


def filtered(name: str, text: str, page: str, output: str, tmp_path) -> str: # HTML
    "What a filter of the site makes of `text`, with what it needs of Quarto's interface."
    wrapper = tmp_path/'filter.lua'
    wrapper.write_text(f'''quarto = {{
      project = {{ directory = "{NBS}" }},
      doc = {{ input_file = "{NBS/page}", is_format = function(f) return f == "{output}" end }},
    }}
    dofile("{NBS/name}")''')
    command = ['pandoc', '-f', 'markdown', '-t', 'html', '--wrap=none', '--lua-filter', str(wrapper)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


@needs_pandoc
def test_a_name_links_to_where_this_page_has_it_from(tmp_path):
    "A name defined in another chapter that this page does not import stays plain: `Range` is not everybody's Range."
    text = 'See `GPT`, `seed_everything`, `lm_head_of_nobody`, `Perceptron`.'
    html = filtered('anchors.lua', text, 'llm/09_gpt.ipynb', 'html:js', tmp_path)
    assert '<a href="#GPT"><code>GPT</code></a>' in html
    assert '<a href="../core/10_run.html#seed_everything"><code>seed_everything</code></a>' in html
    assert ', <code>lm_head_of_nobody</code>, <code>Perceptron</code>' in html


@needs_pandoc
def test_definitions_get_anchors(tmp_path):
    text = '::: {.cell}\n```python\nclass GPT:\n    def step(self): pass\n```\n:::\n'
    html = filtered('anchors.lua', text, 'llm/09_gpt.ipynb', 'html:js', tmp_path)
    assert html.count('<a id="GPT" class="def">') == 1 and 'id="step"' not in html


@needs_pandoc
def test_links_of_the_epub_lead_to_headings(tmp_path):
    title = book.front_matter('llm/09_gpt')['title']
    text = f'[a](llm/09_gpt.ipynb) [b](../llm/09_gpt.ipynb) [c](09_gpt.ipynb#sec-x) [d](notation.qmd)\n\n# {title} {{#here}}\n\n# Notation\n'
    html = filtered('book-links.lua', text, 'index.ipynb', 'epub', tmp_path)
    assert html.count('href="#here"') == 2
    assert 'href="#sec-x"' in html and 'href="#notation"' in html


@needs_pandoc
def test_chapters_are_numbered(tmp_path):
    html = filtered('chapter-links.lua', '---\nsession: 10\n---\nx', 'llm/01_attention.ipynb', 'html:js', tmp_path)
    assert 'Chapter 3.1 · Session 10' in html
    html = filtered('chapter-links.lua', 'x', 'core/01_errors.ipynb', 'html:js', tmp_path)
    assert 'Chapter A.1' in html


def outputs_now(page: Path) -> list: # Markdown of each cell that shows some
    "Run the cells of a page that only reads the ledger and the notebooks, and return what its tables show."
    space, shown = {}, []
    for cell in json.loads(page.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or '%pip' in source: continue
        tree = ast.parse(source)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, page.name, 'exec'), space)
        if last is None: continue
        value = eval(compile(ast.Expression(last.value), page.name, 'eval'), space)
        if hasattr(value, '_repr_markdown_'): shown.append(value._repr_markdown_())
    return shown


@pytest.mark.parametrize('name', ['course', 'results'])
def test_pages_made_from_the_book_are_in_step(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = NBS/f'{name}.ipynb'
    stored = [''.join(o['data']['text/markdown']) for c in json.loads(page.read_text(encoding='utf-8'))['cells']
              for o in c.get('outputs', []) if 'text/markdown' in o.get('data', {})]
    assert stored == outputs_now(page), f'run: python -m era_nbdev.core.book execute {name}'


def test_docstrings_hold_no_reference_that_only_a_page_resolves():
    "An editor shows `@eq-…` and `[@key]` as they stand."
    bad = [f'{p.name}: {line.strip()}' for p in (ROOT/'era_nbdev').rglob('*.py')
           for line in p.read_text(encoding='utf-8').splitlines() if re.search(r'@eq-|\[@[a-z]', line)]
    assert bad == []


def test_the_course_names_all_twenty_sessions():
    text = (NBS/'course.ipynb').read_text(encoding='utf-8')
    assert all(f'### Session {n}: ' in text for n in range(1, 21))
    assert text.count('*To come.*') >= 1


def test_pages_ask_no_other_host():
    "Fonts, formulas and scripts come with the site."
    style = (NBS/'theme.scss').read_text()+(NBS/'dark.scss').read_text()
    settings = (ROOT/'_quarto.yml').read_text()
    assert '$web-font-path: false' in style and 'http' not in style
    assert 'html-math-method: mathml' in settings
    assert 'include-in-header' not in settings


def test_no_stored_figure_has_a_doctype():
    "EPUB readers reject it."
    bad = [p.name for p in NBS.rglob('*.ipynb') if not p.name.startswith('_')
           for c in json.loads(p.read_text(encoding='utf-8'))['cells']
           for o in c.get('outputs', []) if '<!DOCTYPE' in ''.join(o.get('data', {}).get('image/svg+xml', []))]
    assert bad == []
