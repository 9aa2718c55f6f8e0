"""What can be wrong with a sheet or a prompt. Nothing in this room sends or spends anything.

SheetError
├── SheetInvalid     no images, too many, two locations, or a size that has no room for the panels
└── PromptInvalid    a name or a text that would break the "Reference sheet: … Generated video: …" structure
"""


class SheetError(ValueError):
    """Base of both; its text is one line."""


class SheetInvalid(SheetError):
    """These images cannot be put on one sheet."""


class PromptInvalid(SheetError):
    """These elements and this shot cannot be made one prompt."""
