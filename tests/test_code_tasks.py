"All published problems of HumanEval: the fence around programs lets every reference solution work."
import pytest
from era_nbdev.core import data
from era_nbdev.llm.code_tasks import score

@pytest.mark.real
def test_reference_solutions_pass_within_the_fence():
    if data.find(data.dataset('humaneval')) is None:
        pytest.skip('humaneval is not on this machine')
    problems = data.load('humaneval')
    rate, verdicts = score(problems, [[p['canonical_solution']] for p in problems])
    assert len(problems) == 164 and rate == 1., verdicts
