"""Blocks that hold a place: `save()` stores it in absolute form, and a stored relative one is refused.

A validator could not do this: it also runs when a block is loaded, in a worker whose working folder means nothing. So
the value stays as it was written until it is saved, which is something that a person does where the place makes sense.
"""

from typing import Any, ClassVar

from prefect.client.schemas.objects import BlockDocument
from pydantic import SecretStr

from prefect_ltx.places import Kind, absolute, refuse_stored


class StoresPlace:
    """Mixin, before `Block`: `place_field` names the field that is a place, and `place_kind` what it is."""

    place_field: ClassVar[str]
    place_kind: ClassVar[Kind]

    def refuse_relative_place(self) -> None:
        """Refuse a place that no working folder can complete.

        Raises:
            SettingsError: it is relative, and the block was stored so or this is a worker's run.
        """
        if getattr(self, "_block_document_id", None) is None:
            absolute(self.place_kind, self._place, name=self._place_name)
            return
        block = (
            f"{self.get_block_type_slug()}/{getattr(self, '_block_document_name', None) or 'without a name'}"  # type: ignore[attr-defined]
        )
        refuse_stored(self.place_kind, self._place, block=block, field=self.place_field)

    def _to_block_document(self, *args: Any, **kwargs: Any) -> BlockDocument:
        # Called by Prefect where the block is saved, by `save` and `asave` alike.
        place = absolute(self.place_kind, self._place, name=self._place_name)
        if place != self._place:
            is_secret = isinstance(getattr(self, self.place_field), SecretStr)
            setattr(self, self.place_field, SecretStr(place) if is_secret else place)
        document: BlockDocument = super()._to_block_document(*args, **kwargs)  # type: ignore[misc]
        return document

    @property
    def _place(self) -> str:
        value = getattr(self, self.place_field)
        return str(value.get_secret_value() if isinstance(value, SecretStr) else value).strip()

    @property
    def _place_name(self) -> str:
        return f"The field {self.place_field} of {type(self).__name__}"
