"""What every section of the configuration is, and the kinds of numbers in it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """An immutable part of the tree; a key that it does not have is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, coerce_numbers_to_str=True, protected_namespaces=()
    )


class OpenSection(Section):
    """A section whose further keys are options of the part that it names; that part checks them."""

    model_config = ConfigDict(extra="allow")

    def options(self) -> dict[str, Any]:
        """The further keys, which the section itself does not declare."""
        return dict(self.model_extra or {})
