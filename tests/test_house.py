"The rules of the house: what must hold for the book as a whole."
import json, os, re, subprocess, sys
from pathlib import Path
import pytest
import warm
from era_nbdev.core import book, run

ROOT = Path(__file__).parent.parent
PAGES = [p for p in sorted((ROOT/'nbs').rglob('*')) if p.suffix in ('.ipynb', '.qmd') and not any(o.startswith(('.', '_')) for o in p.relative_to(ROOT/'nbs').parts)]
NOTEBOOKS = [p for p in PAGES if p.suffix == '.ipynb']
LEDGER = sorted((ROOT/'results').glob('*.json'))

@pytest.fixture(autouse=True)
def at_root(monkeypatch): monkeypatch.chdir(ROOT)

def tracked(): return [ROOT/f for f in subprocess.run(['git', 'ls-files'], capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()]

def test_imports_only_point_backwards():
    sources = {m: (ROOT/'era_nbdev'/f'{m.replace(".", "/")}.py').read_text() for m in book.order()}
    assert book.imports_forward(sources) == []

def test_no_star_imports_between_chapters():
    bad = [p.name for p in (ROOT/'era_nbdev').rglob('*.py') if re.search(r'^from era_nbdev\S* import \*', p.read_text(), re.M)]
    assert bad == []

def test_sidebar_lists_every_page_and_nothing_else():
    have = {p.relative_to(ROOT/'nbs').with_suffix('').as_posix() for p in PAGES} - {'404'}
    assert set(book.pages()) == have and len(book.pages()) == len(have)

def test_epub_has_the_pages_of_the_sidebar_in_order():
    listed = re.findall(r'([\w/-]+)\.(?:ipynb|qmd)', '\n'.join(l for l in (ROOT/'nbs/_quarto-epub.yml').read_text().splitlines() if not l.lstrip().startswith('#')))
    assert list(dict.fromkeys(listed)) == book.pages()

def test_catalogue_is_in_step(): assert (ROOT/'era_nbdev/chapters.json').read_text() == book.catalogue_text()
def test_readme_is_in_step(): assert (ROOT/'README.md').read_text() == book.readme_text(), 'run: python -m era_nbdev.core.book readme'

def code_lines(text): return [l for l in text.splitlines() if l.strip() and not re.match(r'\s*(from|import|#\|)', l)] # nbdev makes imports relative

def test_library_is_in_step():
    for p in NOTEBOOKS:
        cells = [(c['id'], ''.join(c['source'])) for c in json.loads(p.read_text())['cells'] if c['cell_type'] == 'code']
        exp = re.search(r'#\| default_exp ([\w.]+)', '\n'.join(s for _, s in cells))
        if not exp: continue
        module = '\n'.join(code_lines((ROOT/'era_nbdev'/f'{exp[1].replace(".", "/")}.py').read_text()))
        stale = [i for i, s in cells if re.search(r'^#\| exports?\b', s, re.M) and '\n'.join(code_lines(s)) not in module]
        assert stale == [], f'{p.name}: run nbdev-export'

def test_citations():
    cited = set().union(*(book.citations(p) for p in PAGES))
    assert cited-book.bibliography() == set(), 'cited, but not in references.bib'
    assert book.bibliography()-cited == set(), 'in references.bib, but not cited'

def test_every_reference_is_a_closed_entry_of_its_own():
    entries = re.split(r'\n(?=@)', (ROOT/'nbs/references.bib').read_text().strip())
    open_ones = [e.split(',')[0] for e in entries if not e.strip().endswith('\n}') or e.count('{') != e.count('}')]
    assert open_ones == []
    assert len(entries) == len(book.bibliography()) # no key twice

@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.stem)
def test_figures_links_and_size(page):
    assert book.figures_without_text(page) == [] and book.broken_links(page) == []
    assert page.stat().st_size <= 300*1024, f'{page.stat().st_size/1024:.0f} KB'
    if page.suffix == '.ipynb': assert book.unlabelled_figures(page) == []

@pytest.mark.parametrize('nb', [p for p in NOTEBOOKS if p.parent.name != 'core'], ids=lambda p: p.stem)
def test_chapters_keep_their_outputs(nb):
    cells = [c for c in json.loads(nb.read_text())['cells'] if c['cell_type'] == 'code' and '#| label: fig-' in ''.join(c['source'])]
    assert all(c['outputs'] for c in cells), 'run: python -m era_nbdev.core.book execute'

def test_no_errors_are_stored():
    bad = [f'{p.name} {c["id"]}' for p in NOTEBOOKS for c in json.loads(p.read_text())['cells'] for o in c.get('outputs', []) if o['output_type'] == 'error' or o.get('name') == 'stderr']
    assert bad == []

# smoke runs whose recorded form takes minutes: the same program, fewer steps
SHORTER = dict(vision_language=('--seeds', '1', '--steps', '20', '--align-steps', '5'), clip=('--epochs', '2'), translate=('--examples', '1600', '--epochs', '1'),
               gpt=('--n-layer', '1', '--n-embd', '32'), instruct=('--epochs', '1', '--pretrain', '20', '--n-embd', '32'),
               instruct_ways=('--seeds', '1', '--size', '.01'), rlvr=('--steps', '2', '--judge', '20'), grpo=('--steps', '4', '--judge', '16'), resnet=('--epochs', '2'))

@pytest.mark.parametrize('name', [n for c in run.chapters() for n in c['experiments']])
def test_every_smoke_run_works_offline(name, tmp_path):
    env = {k: v for k, v in os.environ.items() if k != 'ERA_DATA'} | dict(ERA_CACHE=str(tmp_path/'cache'), ERA_MIRROR='http://127.0.0.1:9', OMP_NUM_THREADS='1')
    told = tmp_path/'told.txt'
    words = ['run', name, *SHORTER.get(name, ()), '--out', str(tmp_path/'runs'), '--device', 'cpu']
    assert warm.era(words, env, told) == 0, told.read_text()
    assert not (tmp_path/'cache').exists(), 'a smoke run looked for data in the cache'

@pytest.mark.parametrize('file', LEDGER, ids=lambda p: p.stem)
def test_ledger_entries_name_their_circumstances(file):
    assert book.bad_entries(file) == []
    for o in json.loads(file.read_text()):
        assert o['kind'] in ('run', 'parity', 'bench', 'trial', 'ablation', 'acceptance', 'race') and all(isinstance(m['value'], (int, float)) for m in o['metrics'].values())
        assert {'python', 'torch', 'era_nbdev'} <= set(o['versions']) and re.fullmatch(r'[0-9a-f]{7,}\+?', o['commit']), o['name']
        if o['kind'] == 'parity': assert o['metrics']['error']['value'] <= o['metrics']['allowed']['value']

def test_every_experiment_bench_and_parity_is_recorded():
    entries = [o for f in LEDGER for o in json.loads(f.read_text())]
    for c in run.chapters():
        for n in c['experiments']: assert any(o['kind'] == 'run' and o['name'] == n for o in entries), f'no run of {n} in the ledger'
        for n in c['benches']: assert any(o['kind'] == 'bench' and o['name'] == n for o in entries), f'bench {n} is not in the ledger'

def test_nobodys_folders_are_named():
    bad = {str(f.relative_to(ROOT)): found for f in tracked() if f.exists() and f.suffix in ('.py', '.ipynb', '.json', '.md', '.qmd', '.yml', '.toml', '.ini', '.sh', '.txt', '.js', '.html', '.css', '.cff', '.lua')
           and f.name not in ('test_house.py', '19_book.ipynb', 'book.py') and (found := book.machine_paths(f.read_text(encoding='utf-8')))}
    assert bad == {}

def test_scripts_are_shell():
    for f in [*(ROOT/'runs').glob('*.sh'), ROOT/'.ci/run']: subprocess.run(['bash', '-n', f], check=True)

def test_settings_say_nothing_twice():
    import configparser, tomllib
    cfg = configparser.ConfigParser(); cfg.read(ROOT/'settings.ini'); project = tomllib.loads((ROOT/'pyproject.toml').read_text())['project']
    assert not set(cfg['package']) & set(project)
    url = project['urls']['Repository']
    for f in ('nbs/nbdev.yml', '_quarto.yml', 'CITATION.cff'): assert url in (ROOT/f).read_text(), f

def test_fastai_changes_no_other_notebook():
    "fastai changes how fastcore compares tensors, for all notebooks that nbdev-test runs in the same process: whoever imports it takes that back."
    for nb in NOTEBOOKS:
        code = [''.join(c['source']) for c in json.loads(nb.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
        imports = [i for i, s in enumerate(code) if re.search(r"^\s*(try: )?from fastai|^\s*import fastai|need\('fastai\.", s, re.M)]
        for i in imports: assert "delattr(torch.Tensor, '__array_eq__')" in code[i], f'{nb.name}: a cell imports fastai and leaves its comparison behind'
