"""The mathematics: levels, schedules, denoisers, guidance, samplers, losses.

A noisy picture is `x = alpha * x0 + sigma * n` with standard normal `n`; the pair `(alpha, sigma)` is its level.
A denoiser is `D(x, level, cond) -> x0`, the expected clean picture.
"""
