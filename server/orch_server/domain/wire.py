"""The base of every model that travels: fields are snake_case in Python and camelCase on the wire."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class WireModel(BaseModel):
    """A value that is stored and sent as JSON with camelCase names."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, use_enum_values=False)

    def json_bytes(self) -> bytes:
        """Return the wire form, UTF-8."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True)


class Params(WireModel):
    """What a client sends with a request; a field that is not known is an error, so that typing mistakes are seen."""

    model_config = ConfigDict(extra="forbid")
