"The sentence encoder of apps.dense against the library that publishes it."
import numpy as np
import pytest

def test_the_encoder_is_that_of_sentence_transformers():
    pytest.importorskip('sentence_transformers')
    from era_nbdev.apps.dense import embed
    from era_nbdev.vision.scores import embed_texts
    texts = ['a', 'Use break to end the loop.', 'long '*300, 'The cat sat on the mat.']
    assert np.abs(embed(texts)-embed_texts(texts)).max() < 1e-5
