"Quantisation of a real, trained language model; the rest of the chapter is tested by its notebook."
import copy, os
from pathlib import Path
import pytest
import torch

STORIES = Path(os.environ.get('ERA_DATA', 'none'))/'stories260k'

@pytest.mark.real
def test_a_real_model_in_eight_and_four_bits():
    if not (STORIES/'model.safetensors').is_file(): pytest.skip('ERA_DATA holds no stories260k')
    from era_nbdev.efficiency.quantise import INT4_GROUP, INT8_CHANNEL, own_text, quantize_weights, text_losses
    from era_nbdev.llm.checkpoints import open_model
    story = open_model(STORIES)[0]
    ids = own_text(story, 1, n=32, length=128)
    base = text_losses(story, ids)
    def worse(scheme, **more): # nats, mean over the texts
        rounded = copy.deepcopy(story).tie()
        assert quantize_weights(rounded, scheme, **more) == 20
        return (text_losses(rounded, ids)-base).mean().item()
    assert abs(worse(INT8_CHANNEL)) < .004
    plain, searched = worse(INT4_GROUP, short_group=True), worse(INT4_GROUP, short_group=True, fit=True)
    assert .08 < plain < .2 and searched < plain
    with pytest.raises(ValueError, match='mlp.down.weight: groups of 32 do not divide the 172'):
        worse(INT4_GROUP)

def test_bad_schemes_are_refused_before_a_model_is_touched():
    from era_nbdev.efficiency.quantise import Scheme, quantize_weights
    for bits in (0, 33):
        with pytest.raises(ValueError, match=f'bits is {bits}, expected 2 to 8'): Scheme(bits=bits)
    layer = torch.nn.Sequential(torch.nn.Linear(8, 8))
    layer[0].weight.data[3, 3] = torch.nan
    with pytest.raises(ValueError, match='0.weight: x holds nan'): quantize_weights(layer, Scheme())

def test_bfloat16_codes_are_those_of_float32():
    from era_nbdev.efficiency.quantise import FP8_ROW, INT4_GROUP, INT8_CHANNEL, INT8_TOKEN, TERNARY, fake_quantize
    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(0)).bfloat16()
    for scheme in (INT8_CHANNEL, INT8_TOKEN, INT4_GROUP, TERNARY, FP8_ROW):
        found = fake_quantize(x, scheme)
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, fake_quantize(x.float(), scheme).bfloat16()), scheme

def test_the_step_of_activations_does_not_depend_on_the_batch():
    from era_nbdev.efficiency.quantise import LSQ
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    def gradient(batch):
        quantiser = LSQ(4, activations=True)
        quantiser.start(x)
        (quantiser(batch).sum()/len(batch)).backward()
        return quantiser.step.grad.item()
    assert gradient(x.repeat(64, 1)) == pytest.approx(gradient(x), rel=1e-4)

def test_a_negative_step_is_refused():
    from era_nbdev.efficiency.quantise import LSQ
    quantiser = LSQ(4)
    quantiser(torch.ones(3))
    quantiser.step.data.fill_(-.1)
    with pytest.raises(ValueError, match='step is -0.1'): quantiser(torch.ones(3))
