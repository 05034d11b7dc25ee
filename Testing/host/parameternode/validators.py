"""Annotations that a parameter's values must satisfy; a value that doesn't raises ValueError (TypeError for types)."""

from dataclasses import dataclass
from typing import Any


class Validator:
    """Base class; `validate` raises for a value it doesn't accept."""

    def validate(self, value):
        raise NotImplementedError


@dataclass
class NotNone(Validator):
    """Not None."""

    def validate(self, value):
        if value is None:
            raise ValueError("the value must not be None")


@dataclass
class IsInstance(Validator):
    """None, or of the class."""

    classtype: Any

    def validate(self, value):
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"the value {value!r} must be of type {self.classtype}")


@dataclass
class WithinRange(Validator):
    """From minimum to maximum, both included."""

    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"the value {value!r} must be from {self.minimum} to {self.maximum}")


@dataclass
class Minimum(Validator):
    """At least the minimum."""

    minimum: float

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"the value {value!r} must be at least {self.minimum}")


@dataclass
class Maximum(Validator):
    """At most the maximum."""

    maximum: float

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"the value {value!r} must be at most {self.maximum}")


@dataclass
class Choice(Validator):
    """One of the choices."""

    choices: Any

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"the value {value!r} must be one of {self.choices}")


@dataclass
class Exclude(Validator):
    """None of the excluded values."""

    excludedValues: Any

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"the value {value!r} is among the excluded {self.excludedValues}")
