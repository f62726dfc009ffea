"""Every error a user can meet: what it is called, its HTTP status and its exit code.

A message says where the fault is, what was found, the rule and the next step.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

# kind -> (HTTP status, exit code); the one table that the service and the command share
KINDS: dict[str, tuple[int, int]] = {
    "invalid_json": (400, 2),
    "invalid_request": (422, 2),
    "invalid_data": (422, 3),
    "client_gone": (499, 2),
    "unauthorized": (401, 2),
    "not_found": (404, 4),
    "method_not_allowed": (405, 2),
    "request_too_slow": (408, 9),
    "body_too_large": (413, 2),
    "overloaded": (429, 9),
    "deadline": (504, 9),
    "bundle": (503, 5),
    "bundle_refused": (409, 5),
    "not_comparable": (409, 10),
    "storage": (507, 5),
    "not_ready": (503, 5),
    "missing_extra": (500, 6),
    "settings": (500, 7),
    "training": (500, 8),
    "internal": (500, 1),
}


@dataclass(frozen=True, slots=True)
class Detail:
    """One fault: the field and list index it is at, what was found, and the rule it breaks."""

    field: str
    found: str
    rule: str
    index: int | None = None


class DiplophraseError(Exception):
    """A fault with a kind, a message for people, and the details of every bad item."""

    kind = "internal"

    def __init__(
        self, message: str, *, kind: str | None = None, details: list[Detail] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or []
        if kind is not None:
            self.kind = kind

    @property
    def status(self) -> int:
        return KINDS[self.kind][0]

    @property
    def exit_code(self) -> int:
        return KINDS[self.kind][1]

    def body(self) -> dict[str, object]:
        """Return the JSON body that every failed request gets."""
        details = [asdict(detail) for detail in self.details]
        return {"error": {"kind": self.kind, "message": self.message, "details": details}}


class InvalidRequest(DiplophraseError):
    kind = "invalid_request"


class InvalidData(DiplophraseError):
    kind = "invalid_data"


class BundleError(DiplophraseError):
    kind = "bundle"


class SettingsError(DiplophraseError):
    kind = "settings"


class TrainingError(DiplophraseError):
    kind = "training"


class MissingExtra(DiplophraseError):
    """A command needs packages of an extra that is not installed."""

    kind = "missing_extra"

    def __init__(self, command: str, extra: str, package: str) -> None:
        super().__init__(
            f"{command} needs the package {package}, which is not installed. "
            f"Install the {extra} extra: pip install 'diplophrase[{extra}]' "
            f"(in a clone: pip install -e '.[{extra}]')."
        )
