"""How a value of each Python type is kept in a parameter node: the names and strings are Slicer's.

bool        name = "True" | "False"
int, float  name = str(value)
str, Path   name = str(value)
Enum        name = the member's name
node        name = "" and a node reference with the role `name`
Union       name.<index of the type> as that type has it; None is "True" there
list        name.len, and name.0, name.1 ... as the elements' type has it
"""

import enum
import pathlib
import types
import typing

import slicer

from .validators import IsInstance, NotNone, Validator

PATHS = (
    pathlib.Path,
    pathlib.PosixPath,
    pathlib.WindowsPath,
    pathlib.PurePath,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
)


class Default:
    """Annotation: the value of a parameter that hasn't one yet; `generator` is called each time it is needed."""

    def __init__(self, value=None, *, generator=None):
        self._value = value
        self._generator = generator

    @property
    def value(self):
        return self._generator() if self._generator else self._value


class Kind:
    """One type's way in and out of a parameter node, and the validators its values must pass."""

    def __init__(self, type_, empty, validators, *, toText=str, fromText=None):
        self.type = type_
        self.empty = empty
        self.validators = validators
        self.toText = toText
        self.fromText = fromText or type_

    def accepts(self, value):
        """Raises unless every validator is satisfied."""
        for validator in self.validators:
            validator.validate(value)

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        self.accepts(value)
        node.SetParameter(name, self.toText(value))

    def read(self, node, name):
        return self.fromText(node.GetParameter(name))

    def remove(self, node, name):
        node.UnsetParameter(name)


class NodeKind(Kind):
    """A MRML node, or None."""

    def write(self, node, name, value):
        self.accepts(value)
        node.SetParameter(name, "")  # so that a None that was set can be told from a value that wasn't
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)

    def remove(self, node, name):
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class UnionKind(Kind):
    """One of several types; Optional[X] is X or None, and begins as None."""

    def __init__(self, kinds, validators):
        self.kinds = kinds
        lastIsNone = len(kinds) == 2 and kinds[1].type is type(None)
        super().__init__(typing.Any, None if lastIsNone else kinds[0].empty, validators)

    def isIn(self, node, name):
        return any(kind.isIn(node, f"{name}.{index}") for index, kind in enumerate(self.kinds))

    def _choose(self, value):
        refusal = TypeError(f"{value!r} is of none of the parameter's types")
        for index, kind in enumerate(self.kinds):
            if not _mayBe(kind.type, value):
                continue
            try:
                kind.accepts(value)
            except (TypeError, ValueError) as error:
                refusal = error
            else:
                return index, kind
        raise refusal

    def write(self, node, name, value):
        self.accepts(value)
        index, kind = self._choose(value)
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            kind.write(node, f"{name}.{index}", value)

    def read(self, node, name):
        for index, kind in enumerate(self.kinds):
            if kind.isIn(node, f"{name}.{index}"):
                return kind.read(node, f"{name}.{index}")
        raise KeyError(f"the parameter node has no value {name!r}")

    def remove(self, node, name):
        for index, kind in enumerate(self.kinds):
            kind.remove(node, f"{name}.{index}")


def _mayBe(type_, value):
    """Whether a union may hand the value to this member, before its validators decide: as Slicer does."""
    if isinstance(type_, type) and issubclass(type_, slicer.vtkMRMLNode):
        return isinstance(value, slicer.vtkMRMLNode)
    for alike in ((int, float), PATHS):
        if type_ in alike:
            return type(value) in alike
    return type(value) is type_


class ListKind(Kind):
    """A list. It is read as a tuple-like copy: Slicer's observes changes in place, which modules can do without."""

    def __init__(self, element, validators):
        self.element = element
        super().__init__(list, [], validators)

    def isIn(self, node, name):
        return node.HasParameter(f"{name}.len")

    def write(self, node, name, value):
        self.accepts(value)
        for item in value:
            self.element.accepts(item)
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            for index, item in enumerate(value):
                self.element.write(node, f"{name}.{index}", item)
            node.SetParameter(f"{name}.len", str(len(value)))

    def read(self, node, name):
        return [self.element.read(node, f"{name}.{n}") for n in range(int(node.GetParameter(f"{name}.len")))]

    def remove(self, node, name):
        if self.isIn(node, name):
            for index in range(int(node.GetParameter(f"{name}.len"))):
                self.element.remove(node, f"{name}.{index}")
            node.UnsetParameter(f"{name}.len")


def splitAnnotations(type_):
    """The bare type and the tuple of its annotations."""
    if typing.get_origin(type_) is typing.Annotated:
        bare, *annotations = typing.get_args(type_)
        return bare, tuple(annotations)
    return type_, ()


def makeKind(annotated):
    """The Kind for a possibly annotated type; raises TypeError for a type the host can't keep."""
    type_, annotations = splitAnnotations(annotated)
    validators = [item for item in annotations if isinstance(item, Validator)]
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin is typing.Union or isinstance(type_, types.UnionType):
        return UnionKind([makeKind(argument) for argument in arguments], validators)
    if origin is list:
        return ListKind(makeKind(arguments[0]), validators)
    if type_ is type(None):
        return Kind(type_, None, validators, toText=lambda value: "True", fromText=lambda text: None)
    if not isinstance(type_, type):
        raise TypeError(f"the test host can't keep a parameter of type {type_!r}")
    if issubclass(type_, slicer.vtkMRMLNode):
        return NodeKind(type_, None, [IsInstance(type_), *validators])
    if issubclass(type_, enum.Enum):
        members = IsInstance(type_)
        return Kind(
            type_,
            next(iter(type_)),
            [NotNone(), members, *validators],
            toText=lambda value: value.name,
            fromText=lambda text: type_[text],
        )
    return _plainKind(type_, validators)


def _plainKind(type_, validators):
    checks = [NotNone(), IsInstance((int, float) if type_ is float else type_), *validators]
    if type_ is bool:
        return Kind(bool, False, checks, fromText=lambda text: text == "True")
    if type_ in (int, float):
        return Kind(type_, 0, checks)
    if type_ is str:
        return Kind(str, "", checks)
    if type_ in PATHS:
        return Kind(type_, type_(), checks)
    raise TypeError(f"the test host can't keep a parameter of type {type_!r}")
