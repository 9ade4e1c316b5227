"UMAP against umap-learn, whose import and compilation take too long for the page."
import warnings
import numpy as np, pytest, torch

pytest.importorskip('umap')
from era_nbdev.core.data import load
from era_nbdev.llm.embeddings import fit_ab, fuzzy_graph, trustworthiness, umap

def digits(n): return load('digits').x_train[:n].flatten(1).float()/16

def test_graph_and_curve():
    from umap.umap_ import find_ab_params, fuzzy_simplicial_set
    x = digits(400)
    theirs = fuzzy_simplicial_set(x.numpy(), 15, np.random.RandomState(0), 'euclidean')[0].toarray()
    ours = fuzzy_graph(x, 15).numpy(); both = (ours > 0) & (theirs > 0)
    assert ((ours > 0) != (theirs > 0)).sum() <= 4 # two neighbours at the same distance: either may be the fifteenth
    assert np.abs(ours-theirs)[both].max() < 1e-3
    for d in (0., .1, .5): assert np.allclose(fit_ab(d), find_ab_params(1., d), atol=1e-3)

def test_map_is_as_trustworthy():
    import umap as theirs
    x = digits(600)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore'); y = theirs.UMAP(random_state=0, n_jobs=1, n_epochs=200).fit_transform(x.numpy())
    assert trustworthiness(x, umap(x)) > trustworthiness(x, torch.tensor(y))-.02
