"Integer layers with each of the kernels that this processor can run, and without Numba."
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from era_nbdev.efficiency import kernels
from era_nbdev.efficiency.quantise import INT4_GROUP, INT8_CHANNEL, TERNARY, fake_quantize

@pytest.fixture(params=['tile', 'torch', 'no numba'])
def kernel(request, monkeypatch):
    name = request.param
    if name == 'tile' and not kernels._has_avx2(): pytest.skip('the tile needs AVX2 and Numba')
    monkeypatch.setattr(kernels, 'kernel', lambda: 'tile' if name == 'tile' else 'torch')
    if name == 'no numba': monkeypatch.setattr(kernels, 'njit', None)
    torch.manual_seed(0)
    return name

def random_codes(rows, K): return torch.randint(-128, 128, (rows, K), dtype=torch.int8)

def by_integers(q, s, c, t): # float32 [M, N]; one group
    return (q.int() @ c.int().T).float()*s[:, None]*t

def test_strides_do_not_matter(kernel):
    q, s, c, t = random_codes(64, 6).T, torch.rand(6), random_codes(64, 5).T, torch.rand(5)
    assert torch.equal(kernels.int8_linear(q, s, c, t), by_integers(q, s, c, t))
    wide = random_codes(6, 128)[:, ::2]
    assert torch.equal(kernels.int8_linear(wide, s, c, t), by_integers(wide, s, c, t))

def test_a_sum_that_may_overflow_is_refused(kernel):
    one, codes = torch.ones(1), torch.full((1, 2**17), -128, dtype=torch.int8)
    with pytest.raises(ValueError, match='131072 products in a sum, expected fewer than 131,072'):
        kernels.int8_linear(codes, one, codes, one)
    longest = codes[:, 1:].contiguous()
    assert kernels.int8_linear(longest, one, longest, one).item() == 2**31-2**14
    assert kernels.int8_linear(codes, one, codes, torch.ones(2, 1)).item() == 2**31

@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16])
def test_other_numbers_than_32_bits_are_refused(kernel, dtype):
    linear = kernels.IntLinear(torch.randn(3, 32), INT8_CHANNEL)
    conv = kernels.IntConv2d(nn.Conv2d(4, 6, 3), INT8_CHANNEL)
    for layer, x in ((linear, torch.randn(2, 32)), (conv, torch.randn(2, 4, 5, 5))):
        layer(x)
        with pytest.raises(TypeError, match=f'x is {dtype}, expected float32'): layer(x.to(dtype))

@pytest.mark.parametrize('bias', [True, False])
def test_an_empty_batch_gives_an_empty_output(kernel, bias):
    conv, x = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=bias), torch.randn(0, 3, 8, 6)
    assert kernels.IntConv2d(conv, INT8_CHANNEL)(x).shape == conv(x).shape == (0, 4, 4, 3)
    for scheme in (INT8_CHANNEL, INT4_GROUP, TERNARY):
        linear = kernels.IntLinear(torch.randn(5, 32), scheme, torch.zeros(5) if bias else None)
        assert linear(torch.randn(2, 0, 32)).shape == (2, 0, 5)

@pytest.mark.parametrize('scheme', [INT8_CHANNEL, INT4_GROUP, TERNARY])
def test_a_layer_is_the_fake_quantised_layer(kernel, scheme):
    w, x = torch.randn(10, 64), torch.randn(7, 64)
    exact = F.linear(fake_quantize(x, kernels.ROWS).double(), fake_quantize(w, scheme).double())
    assert torch.allclose(kernels.IntLinear(w, scheme)(x), exact.float(), atol=3e-6*64)

def test_rows_are_quantised_to_the_same_bits(kernel):
    x = torch.randn(7, 33)*torch.tensor([1e-30, 1e-4, 1., 0., 50., 1e20, 1.])[:, None]
    codes, scale = kernels.quantize_rows(x)
    their_codes, their_scale = kernels._rows_by_steps(x)
    assert torch.equal(codes, their_codes) and torch.equal(scale, their_scale)
    x[2, 5] = float('nan')
    with pytest.raises(ValueError, match='nan'): kernels.quantize_rows(x)

@pytest.mark.parametrize('bits', [2, 4])
def test_packed_codes_come_back(kernel, bits):
    codes = torch.randint(-2**(bits-1), 2**(bits-1), (5, 96), dtype=torch.int8)
    assert torch.equal(kernels.unpack(kernels.pack(codes, bits), bits), codes)
