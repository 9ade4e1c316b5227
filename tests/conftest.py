"A shell that starts a job in the background tells it to ignore Ctrl-C; the tests that press Ctrl-C must work there, too."
import signal

import pytest

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN: signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN: signal.signal(signal.SIGHUP, signal.SIG_DFL) # nohup does that


def pytest_collection_modifyitems(items):
    "`pytest -m real` selects the tests that read real data: those that ask for the fixture `real`, and those with the mark."
    for item in items:
        if 'real' in getattr(item, 'fixturenames', ()): item.add_marker(pytest.mark.real)

def refused(err, *words):
    "`err` is one line of `era`, or tyro's own message for options that do not fit; `words` are in it, and no traceback."
    assert 'Traceback' not in err and err.endswith('\n'), err
    framed = err.startswith(('╭', ' '))
    assert framed or (err.startswith('era: ') and err.count('\n') == 1 and len(err) < 500), err
    text = ' '.join(w for w in err.replace('│', ' ').split() if set(w)-set('─╭╮╰╯-')) if framed else err
    for w in words: assert w in text, (w, err)
