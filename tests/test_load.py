"The load test over HTTP: two real server processes, which are gone afterwards."
import math
import pytest
from era_nbdev.core.run import launch, settings
from era_nbdev.scale import deploy

def test_load_over_http_measures_both_servers_and_leaves_none_behind(tmp_path, monkeypatch):
    started = []
    def start(words, *more, **env):
        started.append((words, deploy_start(words, *more, **env)))
        return started[-1][1]
    deploy_start = deploy.start_server
    monkeypatch.setattr(deploy, 'start_server', start)
    found = launch(settings('load', http=True, clients=1, requests=2), out=tmp_path, device='cpu').summary
    tests = 'closed 1', 'open 0.5', 'open 0.8', 'open 1.2'
    names = {f'{kind} {test} {what}' for kind in deploy.ENGINES_8 for test in tests for what in ('ttft p50', 'itl p50', 'tokens/s')}
    assert all(math.isfinite(found[name]) and found[name] >= 0 for name in names)
    assert [words[words.index('serve')+1] for words, _ in started] == ['llm', 'llm-int8']
    assert [process.poll() is not None for _, process in started] == [True, True]

def test_a_server_that_fails_is_named_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setitem(deploy.SERVERS_8, '32 bits', 'nothing-of-this-name')
    with pytest.raises(Exception, match='nothing-of-this-name'):
        launch(settings('load', http=True, clients=1, requests=2), out=tmp_path, device='cpu')
