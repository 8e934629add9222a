"""Medians and spreads of samples. Samples that cannot be right are refused rather than averaged away."""

import dataclasses
import math
import statistics


class BadSamples(ValueError):
    """The samples of `what` are missing or no finite numbers from 0 up."""

    def __init__(self, what, why):
        super().__init__(f"{what}: {why}")


@dataclasses.dataclass(frozen=True)
class Spread:
    median: float
    mad: float  # median absolute deviation
    low: float
    high: float
    count: int

    def __format__(self, spec):
        spec = spec or ",.1f"
        if self.count == 1:
            return f"{self.median:{spec}}"
        return f"{self.median:{spec}} ({self.mad:{spec}})"


def spread(samples, what):
    """The Spread of a list of numbers. `what` names them in the error."""
    if not isinstance(samples, (list, tuple)):
        raise BadSamples(what, f"a list of numbers is expected, not {type(samples).__name__}")
    if not samples:
        raise BadSamples(what, "there are no samples")
    for sample in samples:
        if isinstance(sample, bool) or not isinstance(sample, (int, float)):
            raise BadSamples(what, f"{sample!r} is no number")
        if not math.isfinite(sample) or sample < 0:
            raise BadSamples(what, f"{sample!r} cannot have been measured")
    middle = statistics.median(samples)
    mad = statistics.median(abs(sample - middle) for sample in samples)
    return Spread(float(middle), float(mad), float(min(samples)), float(max(samples)), len(samples))


def median(samples, what):
    return spread(samples, what).median


def ratio(dividend, divisor, what):
    if divisor <= 0:
        raise BadSamples(what, f"there is no ratio to {divisor!r}")
    return dividend / divisor
