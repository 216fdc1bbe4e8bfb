"""DPM-Solver++ 2M beside diffusers' scheduler, and beside DDIM with many steps."""

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from brain_diffuser.generation import ddim, dpm_solver

ALPHA_BARS = ddim.alpha_bars()


SPREAD = 0.2


def denoise(x, t):
    """The noise in x if clean values are near 1 or -1, each with a spread: known exactly."""
    signal, variance = ALPHA_BARS[t].sqrt().item(), (1 - ALPHA_BARS[t]).item()
    width = signal**2 * SPREAD**2 + variance
    centre = torch.tanh(x * signal / width)
    x_0 = centre + signal * SPREAD**2 / width * (x - signal * centre)
    return (x - signal * x_0) / variance**0.5


@pytest.mark.parametrize(
    ("n", "strength"), [(50, 0.75), (25, 0.75), (20, 1.0), (10, 0.75), (10, 1.0), (2, 1.0), (1, 1.0)]
)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
def test_it_is_diffusers_scheduler(n, strength):
    steps = ddim.img2img_steps(ddim.timesteps(n), strength)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="sigma_min",
    )
    scheduler.set_timesteps(timesteps=list(reversed(steps)))
    expected = x
    for t in scheduler.timesteps:
        expected = scheduler.step(denoise(expected, int(t)), t, expected).prev_sample
    found = dpm_solver.sample(denoise, x, steps, ALPHA_BARS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_with_many_steps_it_makes_the_same_as_ddim_and_sooner():
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    exact = dpm_solver.sample(denoise, x, ddim.timesteps(999), ALPHA_BARS)

    def error(sample, n):
        return (sample(denoise, x, ddim.timesteps(n), ALPHA_BARS) - exact).square().mean().sqrt()

    assert error(ddim.sample, 999) < 3e-3
    assert error(dpm_solver.sample, 200) < error(ddim.sample, 200) / 2
    assert error(dpm_solver.sample, 200) < error(dpm_solver.sample, 100) / 2


def test_one_step_is_a_step_of_ddim():
    x = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(2))
    steps = ddim.timesteps(1)
    torch.testing.assert_close(
        dpm_solver.sample(denoise, x, steps, ALPHA_BARS),
        ddim.sample(denoise, x, steps, ALPHA_BARS),
        rtol=1e-5,
        atol=1e-5,
    )
