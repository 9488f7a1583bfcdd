"""The rule of each value in a study file, as pydantic types whose errors state that rule."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError

from pipelines.config import Schedule
from search.spec.dimensions import Choice, Dimension, Fixed, Range
from search.spec.space import KERAS_LEARNING_RATES


def is_name(text: str) -> bool:
    """Whether a study may be called so: folders, URLs and shells have to take its name as it is."""
    first, last = text[:1], text[-1:]
    return (
        1 <= len(text) <= 200
        and text.isprintable()
        and first not in " .-"
        and last != " "
        and not ({"/", "\\"} & set(text))
    )


def _rule(text: str, names: tuple[str, ...] = ()) -> WrapValidator:
    """States one rule for whatever pydantic finds wrong with a value, and the nearest of the valid names."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            near = get_close_matches(value.lower(), names, 1) if isinstance(value, str) else []
            raise PydanticCustomError("rule", text, {"near": near}) from None

    return WrapValidator(check)


def _integer(low: int, high: int) -> Any:
    return Annotated[int, Field(strict=True, ge=low, le=high), _rule(f"must be a whole number from {low} to {high}")]


def _number(what: str, **bounds: Any) -> Any:
    return Annotated[float, Field(strict=True, allow_inf_nan=False, **bounds), _rule(f"must be {what}")]


def one_of(names: tuple[str, ...]) -> Any:
    """A closed set of names."""
    return Annotated[Literal[names], _rule(f"must be one of {', '.join(names)}", names)]


def string(rule: str, valid: Callable[[str], bool]) -> Any:
    """A string for which ``valid`` holds."""

    def check(value: str) -> str:
        if not valid(value):
            raise ValueError(rule)
        return value

    return Annotated[str, Strict(), AfterValidator(check), _rule(rule)]


NAME_RULE = (
    "must be 1 to 200 printable characters without a slash or backslash, "
    'not beginning with a space, "." or "-" nor ending with a space'
)
NAME = string(NAME_RULE, is_name)
COUNT = _integer(1, 2**31 - 1)
SEED = _integer(0, 2**32 - 1)
SECONDS = _number("a number of seconds > 0", gt=0)
SHARE = _number("a number between 0 and 1, both excluded", gt=0, lt=1)
AUDIT = _number("a number from 0 to 1", ge=0, le=1)
_POSITIVE = _number("a number > 0", gt=0)
_GPU_RULE = 'must be a number of GPUs, or a list of their indexes or UUIDs such as "0,2"'
GPUS = Annotated[
    Annotated[int, Field(strict=True, ge=0, le=1024)]
    | Annotated[str, Field(strict=True, pattern=r"^ *[\w-]+ *(, *[\w-]+ *)*,? *$")],
    _rule(_GPU_RULE),
]
TRIALS_PER_GPU = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=1024)] | Literal["auto"], _rule('must be a whole number >= 1, or "auto"')
]
_BOOL = Annotated[bool, Strict(), _rule("must be true or false")]

# The rule of each hyperparameter's value: alone, in a list, or as an end of a range.
VALUES: dict[str, Any] = {
    "width": COUNT,
    "depth": COUNT,
    "dropout": _number("a number from 0 to below 1", ge=0, lt=1),
    "optimizer": one_of(tuple(KERAS_LEARNING_RATES)),
    "learning_rate": _POSITIVE,
    "schedule": one_of(get_args(Schedule)),
    "epochs": COUNT,
    "batch_size": COUNT,
}
_STEPS = dict.fromkeys(VALUES, COUNT) | dict.fromkeys(("dropout", "learning_rate"), _POSITIVE)


class Table(BaseModel):
    """A table of a study file: only the keys that it names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RangeTable(Table):
    """A range; ``log`` comes first because the rules of the others depend on it."""

    log: _BOOL = False
    low: Any
    high: Any
    step: Any = None

    @field_validator("low", mode="before")
    @classmethod
    def _positive_when_log(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("log") and isinstance(value, int | float) and value <= 0:
            raise PydanticCustomError("rule", "must be > 0 when log = true")
        return value

    @field_validator("high")
    @classmethod
    def _not_inverted(cls, value: Any, info: ValidationInfo) -> Any:
        if "low" in info.data and value < info.data["low"]:
            raise PydanticCustomError("rule", f"must be >= low = {info.data['low']}")
        return value

    @field_validator("step")
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("log"):
            raise PydanticCustomError("rule", "must be left out when log = true")
        if {"low", "high"} <= info.data.keys():
            span = info.data["high"] - info.data["low"]
            if value > span or (isinstance(value, float) and value * 1e6 < span):
                text = f"must be at most high - low = {span:g} and at least a millionth of it"
                raise PydanticCustomError("rule", text)
        return value


def dimension(name: str) -> Any:
    """What ``[space]`` may say of a hyperparameter: a value, a list or, for numbers, a range."""
    value_type = VALUES[name]
    one, several = TypeAdapter(value_type), TypeAdapter(list[value_type])  # type: ignore[valid-type]
    ends: dict[str, Any] = {"low": (value_type, ...), "high": (value_type, ...), "step": (_STEPS[name], None)}
    table = create_model("Range", __base__=RangeTable, **ends)

    def read(value: Any) -> Dimension:
        if isinstance(value, dict) and name not in ("optimizer", "schedule"):
            limits = table.model_validate(value)
            return Range(limits.low, limits.high, limits.log, limits.step)
        if not isinstance(value, list | tuple):
            return Fixed(one.validate_python(value))
        values = tuple(several.validate_python(value))
        if not values or len(set(values)) < len(values):
            raise PydanticCustomError("rule", "must hold at least one value and none twice")
        return Choice(values)

    return Annotated[Any, PlainValidator(read)]
