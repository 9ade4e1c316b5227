"The first cell of a page on Colab: in step with the front matter, and its command installs the package from the repository."
import ast
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import pytest

from era_nbdev.core import book

ROOT = Path(__file__).parent.parent
NOTEBOOKS = [ROOT/'nbs'/f'{page}.ipynb' for page in book.pages() if (ROOT/'nbs'/f'{page}.ipynb').exists()]


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_page_has_its_cell():
    stale = [path.name for path, text in book.colab_pages().items() if path.read_text(encoding='utf-8') != text]
    assert stale == [], 'run: python -m era_nbdev.core.book colab'


def imported(notebook):
    "The modules that the cells of a page import when it runs from top to bottom."
    found = set()
    for cell in json.loads(notebook.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or 'nbdev_export()' in source or "'google.colab'" in source:
            continue
        lines = [line for line in source.splitlines() if not line.lstrip().startswith(('%', '!'))]
        for node in ast.parse('\n'.join(lines)).body: # what stands inside a function is imported when it is needed
            if isinstance(node, ast.Import):
                found |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split('.')[0])
    return found


def is_optional(module):
    with contextlib.suppress(ValueError):
        return bool(book.extra_of(module))
    return False


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_what_a_page_imports_is_in_its_front_matter(notebook):
    page = notebook.relative_to(ROOT/'nbs').with_suffix('').as_posix()
    brought = {book.extra_of(module) for module in book.needs(page)} - {'dev'}
    missing = [module for module in imported(notebook) if is_optional(module) and module != 'fastcore'
               and module not in book.needs(page) and book.extra_of(module) not in brought]
    assert missing == [], f'add {missing} to the line "needs" in the front matter'


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def git_server(folder):
    "A git server on this machine for a bare clone of this checkout; gives the clone's address."
    subprocess.run(['git', 'clone', '-q', '--bare', str(ROOT), str(folder/'book.git')], check=True)
    port = free_port()
    command = ['git', 'daemon', '--export-all', '--reuseaddr', '--listen=127.0.0.1', f'--port={port}',
               f'--base-path={folder}', str(folder)]
    server = subprocess.Popen(command, start_new_session=True)
    address = f'git://127.0.0.1:{port}/book.git'
    try:
        for _ in range(100):
            if subprocess.run(['git', 'ls-remote', '-q', address], capture_output=True).returncode == 0:
                break
            time.sleep(.1)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait()


RUN_CELL = '''
import sys, types
from IPython.core.interactiveshell import InteractiveShell
if len(sys.argv) > 2: sys.modules['google.colab'] = types.ModuleType('google.colab')
shell = InteractiveShell.instance()
result = shell.run_cell(open(sys.argv[1], encoding='utf-8').read())
result.raise_error()
'''


def run_cell(source, folder, env, *more):
    (folder/'cell.py').write_text(source, encoding='utf-8')
    return subprocess.run([sys.executable, '-c', RUN_CELL, str(folder/'cell.py'), *more], env=env, cwd=folder,
                          capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not shutil.which('git') or subprocess.run(['git', 'daemon', '--help'], capture_output=True).returncode != 0,
                    reason='needs git and git daemon')
def test_the_cell_installs_the_package(tmp_path):
    "The cell runs as it is; git is told to go to this machine in place of the repository, and pip not to fetch anything else."
    target = tmp_path/'site'
    page = max((p for p in book.pages() if (ROOT/'nbs'/f'{p}.ipynb').exists()), key=lambda p: len(book.colab_cell(p).split(']')[0]))
    with git_server(tmp_path) as address:
        env = os.environ | dict(
            PIP_TARGET=str(target), PIP_NO_DEPS='1', PIP_NO_BUILD_ISOLATION='0', PIP_NO_INDEX='1', PIP_DISABLE_PIP_VERSION_CHECK='1',
            GIT_CONFIG_COUNT='1', GIT_CONFIG_KEY_0=f'url.{address}.insteadOf', GIT_CONFIG_VALUE_0=book.repository(),
            IPYTHONDIR=str(tmp_path/'ipython'))
        env.pop('PYTHONPATH', None)
        here = run_cell(book.colab_cell(page), tmp_path, env)
        assert here.returncode == 0 and not target.exists(), 'the cell must do nothing outside Colab'
        there = run_cell(book.colab_cell(page), tmp_path, env, 'colab')
    said = there.stdout + there.stderr
    assert there.returncode == 0 and target.exists(), said
    assert 'does not provide the extra' not in said
    look = textwrap.dedent('''
        import era_nbdev, importlib.metadata as m
        print(era_nbdev.__file__)
        print(*m.distribution('era_nbdev').metadata.get_all('Provides-Extra'))''')
    out = subprocess.run([sys.executable, '-c', look], env=env | dict(PYTHONPATH=str(target)), cwd=tmp_path,
                         capture_output=True, text=True, check=True).stdout.splitlines()
    assert Path(out[0]).is_relative_to(target)
    assert {book.extra_of(module) for module in book.needs(page)} - {'dev'} <= set(out[1].split())


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_the_last_cell_runs_where_nbdev_is_missing(notebook):
    "On Colab the export of the module, in the last cell, failed: nbdev is not there."
    last = ''.join(json.loads(notebook.read_text(encoding='utf-8'))['cells'][-1]['source'])
    tail = last.split('import sys\n')[-1]
    if 'nbdev_export' in last:
        exec(tail, dict(sys=types.SimpleNamespace(modules={'google.colab': None})))
