"The checkers of the exercises: each reference solution passes its own, in the program that a learner runs, and the commands as a user types them."
import ast, os, subprocess, sys
import pytest
from era_nbdev.core import book
from era_nbdev.core.exercise import chapter_imports, judge, read_exercises, signature

PAGES = [p for p in book.pages() if '/' in p]
def notebook(page): return book.project()/'nbs'/f'{page}.ipynb'
CHECKED = {page: found for page in PAGES if (found := [o for o in read_exercises(notebook(page), book.module_of(page)) if o.function])}

def definitions(code): # of functions, classes and CONSTANTS, and the imports that they use: what a learner would hand in
    kinds = ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom
    def constant(n): return isinstance(n, ast.Assign) and all(isinstance(t, ast.Name) and t.id.isupper() and len(t.id) > 1 for t in n.targets)
    return '\n'.join(ast.unparse(n) for n in ast.parse(code).body if isinstance(n, kinds) or constant(n))

def test_every_exercise_can_be_read():
    for page in PAGES:
        found = read_exercises(notebook(page), book.module_of(page))
        assert [o.number for o in found] == list(range(1, len(found)+1)), page
        for o in found: assert o.task and o.hint and o.answer, o.id # a few are answered in words alone

@pytest.mark.parametrize('page', CHECKED)
def test_every_reference_solution_passes_its_checker(page):
    "Without a process of its own, which the chapter of `core.exercise` tests: forty chapters would import torch forty times."
    imports = chapter_imports(notebook(page), book.module_of(page))
    for o in CHECKED[page]:
        assert o.function in signature(o) and '…' not in signature(o), o.id
        verdicts = judge(imports, definitions(o.solution), o.checker, o.function)
        assert verdicts and all(holds for *_, holds in verdicts), (o.id, verdicts)

def era(*words, **env):
    return subprocess.run([sys.executable, '-m', 'era_nbdev.core.cli', *words], capture_output=True, text=True, env=os.environ | env)

def test_bad_input_is_answered_in_one_line(tmp_path):
    (tmp_path/'x.py').write_text('def sq_dist(a, b: return 1')
    for words, told in ((('check', 'gtp.1'), "did you mean 'gpt'"), (('check', 'gpt.77'), 'there is 1 to'),
                        (('check', 'tensors.2', str(tmp_path/'none.py')), 'no file'), (('check', 'tensors.2', str(tmp_path/'x.py')), 'SyntaxError'),
                        (('exercises', 'core.cli'), 'has no exercises')):
        done = era(*words, ERA_PROGRESS=str(tmp_path))
        assert done.returncode and told in done.stderr and len(done.stderr.strip().splitlines()) == 1, (words, done.stderr)
