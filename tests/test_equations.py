"The numbers of equations in docstrings: the n-th numbered equation of the page is the one that the function computes."
import ast, json, re
import pytest
from era_nbdev.core import book

# chapter -> function -> labels of its equations, in the order in which its source names them
EQUATIONS = {
    'llm/17_precision': dict(decode=['value'], gap=['gap'], round_stochastic=['stochastic']),
    'llm/18_overlap': dict(clipped_matches=['precision'], bleu_from_counts=['smooth', 'bleu'],
                           chrf_from_counts=['chrf'], lcs_table=['lcs']),
    'llm/19_metrics': dict(perplexity=['perplexity']),
}

def cells_of(chapter, kind):
    notebook = json.loads((book.project()/'nbs'/f'{chapter}.ipynb').read_text(encoding='utf-8'))
    return [''.join(c['source']) for c in notebook['cells'] if c['cell_type'] == kind]

def named(chapter): # function or class -> numbers in its source
    found = {}
    for source in cells_of(chapter, 'code'):
        if not source.startswith('#| export'): continue
        for node in ast.parse(source).body:
            lines = ast.get_source_segment(source, node) or ''
            numbers = [int(n) for n in re.findall(r'Eq\. \(?(\d+)\)?(?: of the chapter)', lines)]
            if numbers: found[node.name] = numbers
    return found

@pytest.mark.parametrize('chapter', EQUATIONS)
def test_equation_numbers(chapter):
    page = '\n'.join(cells_of(chapter, 'markdown'))
    labels = [label.split('-', 1)[1] for label in re.findall(r'\{#eq-([\w-]+)\}', page)]
    found = {name: [labels[n-1] if n <= len(labels) else n for n in numbers]
             for name, numbers in named(chapter).items()}
    assert found == EQUATIONS[chapter]
