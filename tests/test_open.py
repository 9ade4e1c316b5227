"`era open`: the notebook of a chapter in JupyterLab."
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from era_nbdev.core.cli import main

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_an_unknown_chapter(capsys):
    assert main(['open', 'convnet']) == 2
    assert "did you mean 'convnets'" in capsys.readouterr().err


def test_dry_run(capsys):
    assert main(['open', 'llm.gpt', '--dry-run']) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[1:3] == ['-m', 'jupyterlab'] and Path(words[3]) == ROOT/'nbs/llm/09_gpt.ipynb'


def test_without_jupyterlab(capsys, monkeypatch):
    "The message names the extra."
    real = importlib.import_module

    def without(name, *more):
        if name == 'jupyterlab':
            raise ModuleNotFoundError("No module named 'jupyterlab'", name='jupyterlab')
        return real(name, *more)
    monkeypatch.setattr(importlib, 'import_module', without)
    assert main(['open', 'mnist']) == 2
    assert "pip install 'era_nbdev[notebook]'" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec('jupyterlab') is None, reason='jupyterlab is not installed')
def test_jupyterlab_starts(tmp_path):
    "A real server, which has the notebook."
    (tmp_path/'config').mkdir()
    server = dict(allow_root=True, open_browser=False, port=0, token='word')
    (tmp_path/'config'/'jupyter_server_config.json').write_text(json.dumps(dict(ServerApp=server)), encoding='utf-8')
    env = os.environ | {f'JUPYTER_{kind.upper()}_DIR': str(tmp_path/kind) for kind in ('config', 'runtime', 'data')}
    p = subprocess.Popen([sys.executable, '-m', 'era_nbdev.core.cli', 'open', 'mnist'], cwd=ROOT, env=env, start_new_session=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        end = time.monotonic()+120
        while not (found := list(tmp_path.glob('runtime/jpserver-*.json'))):
            assert p.poll() is None and time.monotonic() < end, p.stdout.read()
            time.sleep(.1)
        time.sleep(.1)
        url = json.loads(found[0].read_text(encoding='utf-8'))['url']
        with urllib.request.urlopen(f'{url}api/contents/09_mnist.ipynb?content=0&token=word', timeout=60) as answer:
            assert json.load(answer)['type'] == 'notebook'
    finally:
        os.killpg(p.pid, signal.SIGTERM)
        p.communicate(timeout=60)
