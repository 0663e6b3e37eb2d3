"""Store automation documents and their versions."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region

from kit.local.ssm.errors import (
    DocumentAlreadyExists,
    DocumentLimitExceeded,
    DocumentVersionLimitExceeded,
    DuplicateDocumentContent,
    DuplicateDocumentVersionName,
    InvalidDocument,
    InvalidDocumentContent,
    InvalidDocumentOperation,
    InvalidDocumentVersion,
    InvalidRequest,
    Unsupported,
)
from kit.local.ssm.parameters import plain_type, to_wire
from kit.local.ssm.runbook import Runbook
from kit.local.ssm.runbook_parser import parse_text

AUTOMATION = "Automation"
FORMATS = ("JSON", "YAML")
LATEST, DEFAULT = "$LATEST", "$DEFAULT"
NAME = re.compile(r"[a-zA-Z0-9_\-.]{3,128}")
# Prefixes that AWS reserves for its own documents.
RESERVED = ("aws-", "amazon", "amzn")
DOCUMENTS_MAX = 500
VERSIONS_MAX = 1_000

Request = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a document."""

    number: int
    name: str
    content: str
    format: str
    runbook: Runbook
    created_at: float

    @property
    def digest(self) -> str:
        """The content's hash in API responses."""
        return hashlib.sha256(self.content.encode()).hexdigest()


@dataclass(slots=True, kw_only=True)
class Document:
    """One document."""

    name: str
    arn: str
    owner: str
    display_name: str = ""
    target_type: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    default: int = 1

    @property
    def latest(self) -> int:
        """The highest version number."""
        return max(self.versions)

    def version(self, wanted: str | None = None, version_name: str | None = None) -> Version:
        """Find a version by number, `$LATEST`, `$DEFAULT` (also without any argument) or version name."""
        if version_name:
            found = [version for version in self.versions.values() if version.name == version_name]
            if not found:
                raise InvalidDocumentVersion(f"document {self.name} has no version named {version_name}")
            return found[0]
        number = {LATEST: self.latest, DEFAULT: self.default}.get(wanted or DEFAULT)
        if number is None and wanted is not None and wanted.isdigit():
            number = int(wanted)
        if number not in self.versions:
            raise InvalidDocumentVersion(f"document {self.name} has no version {wanted}")
        return self.versions[number]

    def describe(self, version: Version) -> dict[str, Any]:
        """Return the document as DescribeDocument does."""
        return {
            **self.summarize(version),
            "Hash": version.digest,
            "HashType": "Sha256",
            "Status": "Active",
            "Description": version.runbook.description or None,
            "Parameters": [_shown_parameter(parameter) for parameter in version.runbook.parameters.values()],
            "LatestVersion": str(self.latest),
            "DefaultVersion": str(self.default),
        }

    def summarize(self, version: Version) -> dict[str, Any]:
        """Return the document as ListDocuments does."""
        return {
            "Name": self.name,
            "DisplayName": self.display_name or None,
            "VersionName": version.name or None,
            "Owner": self.owner,
            "CreatedDate": version.created_at,
            "DocumentVersion": str(version.number),
            "PlatformTypes": ["Windows", "Linux", "MacOS"],
            "DocumentType": AUTOMATION,
            "SchemaVersion": "0.3",
            "DocumentFormat": version.format,
            "TargetType": self.target_type or None,
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }


class Documents:
    """The documents of all accounts and Regions."""

    def __init__(self) -> None:
        self._documents: AccountRegionScopedDict = AccountRegionScopedDict()

    def all(self) -> list[Document]:
        """Return the documents of the caller's account and Region, sorted by name."""
        return sorted(self._documents.values(), key=lambda document: document.name)

    def find(self, name_or_arn: str) -> Document | None:
        """Find a document by its name, or by an ARN of the caller's account and Region."""
        name = name_or_arn
        if name_or_arn.startswith("arn:"):
            prefix = _arn("")
            if not name_or_arn.startswith(prefix):
                return None
            name = name_or_arn.removeprefix(prefix)
        return self._documents.get(name)

    def get(self, name_or_arn: str) -> Document:
        """Return the document. Raises InvalidDocument."""
        document = self.find(name_or_arn)
        if document is None:
            raise InvalidDocument(f"document {name_or_arn} does not exist")
        return document

    def create(self, request: Request) -> Document:
        """Serve CreateDocument."""
        name = request["Name"]
        if not NAME.fullmatch(name) or name.lower().startswith(RESERVED):
            raise InvalidRequest(f"document name {name!r} must match {NAME.pattern} and not start with {RESERVED}")
        _refuse_unsupported(request)
        if name in self._documents:
            raise DocumentAlreadyExists(f"document {name} exists")
        if len(self._documents) >= DOCUMENTS_MAX:
            raise DocumentLimitExceeded(f"{len(self._documents) + 1} documents exceed the quota of {DOCUMENTS_MAX}")
        document = Document(
            name=name,
            arn=_arn(name),
            owner=get_account_id(),
            display_name=request.get("DisplayName") or "",
            target_type=request.get("TargetType") or "",
            tags=tags_of(request.get("Tags") or ()),
        )
        document.versions[1] = _version(1, request)
        self._documents[name] = document
        return document

    def update(self, request: Request) -> tuple[Document, Version]:
        """Serve UpdateDocument: add a version, which does not become the default one."""
        _refuse_unsupported(request)
        document = self.get(request["Name"])
        if request.get("DocumentVersion") not in (None, LATEST, str(document.latest)):
            raise InvalidDocumentVersion(
                f"document {document.name}: version {request['DocumentVersion']} is not the latest, {document.latest}"
            )
        version = _version(document.latest + 1, {"DocumentFormat": FORMATS[0], **request})
        if version.digest in {each.digest for each in document.versions.values()}:
            raise DuplicateDocumentContent(f"document {document.name} has a version of this content")
        if version.name and version.name in {each.name for each in document.versions.values()}:
            raise DuplicateDocumentVersionName(f"document {document.name} has a version named {version.name}")
        if len(document.versions) >= VERSIONS_MAX:
            raise DocumentVersionLimitExceeded(f"document {document.name} has {VERSIONS_MAX} versions, the quota")
        document.versions[version.number] = version
        document.display_name = request.get("DisplayName") or document.display_name
        document.target_type = request.get("TargetType") or document.target_type
        return document, version

    def delete(self, name: str, version: str | None = None, version_name: str | None = None) -> None:
        """Serve DeleteDocument: delete all versions, or one that is not the default one."""
        document = self.get(name)
        if version is None and version_name is None:
            del self._documents[document.name]
            return
        found = document.version(version, version_name)
        if found.number == document.default:
            raise InvalidDocumentOperation(f"document {name}: version {found.number} is its default version")
        del document.versions[found.number]


def tags_of(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Convert a list of Key and Value to a map."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def _version(number: int, request: Request) -> Version:
    document_format = request.get("DocumentFormat") or FORMATS[0]
    if document_format not in FORMATS:
        raise InvalidDocumentContent(f"DocumentFormat {document_format} must be {' or '.join(FORMATS)}")
    return Version(
        number=number,
        name=request.get("VersionName") or "",
        content=request["Content"],
        format=document_format,
        runbook=parse_text(request["Content"], document_format),
        created_at=time.time(),
    )


def _refuse_unsupported(request: Request) -> None:
    if "DocumentType" in request and request["DocumentType"] != AUTOMATION:
        raise Unsupported(f"DocumentType {request['DocumentType']}: the local AWS has {AUTOMATION} documents only")
    for key in ("Attachments", "Requires"):
        if request.get(key):
            raise Unsupported(f"the local AWS does not serve {key} of documents")


def _arn(name: str) -> str:
    return f"arn:aws:ssm:{get_region()}:{get_account_id()}:document/{name}"


def _shown_parameter(parameter: Any) -> dict[str, Any]:
    default = parameter.default
    return {
        "Name": parameter.name,
        # The API has only two types.
        "Type": "StringList" if plain_type(parameter.type) in ("StringList", "MapList") else "String",
        "Description": parameter.description or None,
        "DefaultValue": None if default is None else ",".join(to_wire(default)),
    }
