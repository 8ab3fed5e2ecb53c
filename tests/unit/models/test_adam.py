"""The optimiser moves parameters as ``torch.optim.Adam`` does."""

import torch

from labeltransfer.models.fast.adam import Adam


def test_every_step_is_that_of_torchs_own_to_the_last_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((40, 7), (7,), (3, 2))]
    own, theirs = ([torch.nn.Parameter(t.clone()) for t in start] for _ in range(2))
    optimizer = Adam(own, 2e-3)
    reference = torch.optim.Adam(theirs, lr=2e-3, eps=0.01, weight_decay=1e-6, fused=True)
    for number in range(6):
        if number == 3:
            optimizer.lr = reference.param_groups[0]["lr"] = 6e-4
        for a, b in zip(own[:2], theirs[:2], strict=True):  # the third takes part in nothing
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        optimizer.step()
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(own, theirs, strict=True))
        assert all(p.grad is None for p in own)
    assert torch.equal(own[2], start[2]) and not torch.equal(own[0], start[0])
